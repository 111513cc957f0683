//! `loadBalancer`: which endpoint receives a request.

use mesh_api::traffic_policy::load_balancer::{Algorithm, LoadBalancer, Warmup};

use super::consistent_hash::{self, WireHash};
use super::locality::{self, WireLocality};
use crate::decode::jsonpb::{GoDuration, wire_enum};
use crate::kinds::definition::constraint::at_most_one;
use crate::kinds::findings::Findings;
use crate::kinds::rules;
use crate::kinds::wire::wire;
use crate::manifest::path::FieldPath;

const WARMUP_MINIMUM_PERCENT: f64 = 10.0;
const WARMUP_AGGRESSION: f64 = 1.0;

const NO_WARMUP: &str =
    "not supported yet by the data plane \"weft\": the field has no effect there";

wire! {
    #[schemars(extend("oneOf" = at_most_one(&["simple", "consistentHash"])))]
    WireBalancer {
        /// LEAST_REQUEST (default) chooses the endpoint with fewer active requests out of two random ones, RANDOM
        /// a random one, ROUND_ROBIN one after the other. PASSTHROUGH keeps the address that the client connected
        /// to. LEAST_CONN is deprecated: use LEAST_REQUEST.
        simple: Option<SimpleLb>,
        /// Requests with the same key go to the same endpoint, as long as endpoints do not change.
        consistent_hash: Option<WireHash>,
        /// Preference of endpoints by locality. By default meshConfig.localityLbSetting.
        locality_lb_setting: Option<WireLocality>,
        /// Not supported yet.
        zone_aware_lb_setting: Option<serde_json::Value>,
        /// Slow start: new endpoints receive their share of requests step by step. With ROUND_ROBIN and
        /// LEAST_REQUEST only. No effect yet in Weft's own proxy.
        warmup: Option<WireWarmup>,
        /// Deprecated: use warmup.
        warmup_duration_secs: Option<GoDuration>,
    }

    #[schemars(extend("required" = ["duration"]))]
    WireWarmup {
        /// Time until a new endpoint receives its full share, at least 1ms.
        duration: Option<GoDuration>,
        /// Percentage of its share that a new endpoint receives at least, 0 to 100. 10 by default.
        minimum_percent: Option<f64>,
        /// Above 1.0 the share grows faster at the beginning, below 1.0 slower. 1.0 (default) is linear.
        aggression: Option<f64>,
    }
}

wire_enum!(
    SimpleLb {
        #[default]
        Unspecified = "UNSPECIFIED" / 0,
        LeastConn = "LEAST_CONN" / 1,
        Random = "RANDOM" / 2,
        Passthrough = "PASSTHROUGH" / 3,
        RoundRobin = "ROUND_ROBIN" / 4,
        LeastRequest = "LEAST_REQUEST" / 5,
    }
);

/// `ejects`: the same policy has outlier detection.
pub(super) fn read(
    wire: &WireBalancer,
    ejects: bool,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> LoadBalancer {
    let algorithm = algorithm(wire, path, findings);
    let setting = wire.locality_lb_setting.as_ref();
    let locality = setting.map(|setting| {
        let at = path.field("localityLbSetting");
        let read = locality::read(setting, &at, findings);
        let failover = !setting.failover.is_empty() || !setting.failover_priority.is_empty();
        if failover && !ejects {
            findings
                .warn(
                    &at,
                    "failover works only with outlierDetection in the same policy",
                )
                .suggest("add outlierDetection");
        }
        read
    });
    if wire.zone_aware_lb_setting.is_some() {
        findings.not_supported(&path.field("zoneAwareLbSetting"));
    }
    LoadBalancer {
        algorithm,
        locality,
        warmup: warmup(wire, path, findings),
    }
}

fn algorithm(wire: &WireBalancer, path: &FieldPath<'_>, findings: &mut Findings<'_>) -> Algorithm {
    let algorithms = [
        ("simple", wire.simple.is_some()),
        ("consistentHash", wire.consistent_hash.is_some()),
    ];
    rules::at_most_one(&algorithms, path, findings);
    if wire.simple == Some(SimpleLb::LeastConn) {
        findings.deprecated(&path.field("simple"), "LEAST_REQUEST");
    }
    let hash = wire.consistent_hash.as_ref();
    let hash =
        hash.and_then(|hash| consistent_hash::read(hash, &path.field("consistentHash"), findings));
    match (hash, wire.simple.unwrap_or_default()) {
        (Some(hash), _) => Algorithm::ConsistentHash(hash),
        (None, SimpleLb::RoundRobin) => Algorithm::RoundRobin,
        (None, SimpleLb::Random) => Algorithm::Random,
        (None, SimpleLb::Passthrough) => Algorithm::Passthrough,
        (None, SimpleLb::Unspecified | SimpleLb::LeastConn | SimpleLb::LeastRequest) => {
            Algorithm::LeastRequest
        }
    }
}

fn warmup(
    wire: &WireBalancer,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<Warmup> {
    if let Some(settings) = &wire.warmup {
        let at = path.field("warmup");
        warmup_settings(settings, &at, findings);
        findings.without_effect(&at, NO_WARMUP);
    }
    if wire.warmup_duration_secs.is_some() {
        let at = path.field("warmupDurationSecs");
        findings.deprecated(&at, "warmup: {duration: 30s}");
        findings.without_effect(&at, NO_WARMUP);
        rules::duration(wire.warmup_duration_secs, &at, findings);
    }
    warms_at_all(wire, path, findings);
    let settings = wire.warmup.as_ref();
    let duration = settings
        .and_then(|warmup| warmup.duration)
        .or(wire.warmup_duration_secs)?;
    Some(Warmup {
        duration: duration.0,
        minimum_percent: settings
            .and_then(|warmup| warmup.minimum_percent)
            .unwrap_or(WARMUP_MINIMUM_PERCENT),
        aggression: settings
            .and_then(|warmup| warmup.aggression)
            .unwrap_or(WARMUP_AGGRESSION),
    })
}

fn warmup_settings(wire: &WireWarmup, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    let duration = path.field("duration");
    match wire.duration {
        Some(_) => rules::duration(wire.duration, &duration, findings),
        None => {
            findings.error(&duration, "the duration is required");
        }
    }
    if let Some(percent) = wire.minimum_percent {
        rules::percent(percent, &path.field("minimumPercent"), findings);
    }
    if wire.aggression.is_some_and(|aggression| aggression <= 0.0) {
        findings.error(&path.field("aggression"), "the aggression must be above 0");
    }
}

fn warms_at_all(wire: &WireBalancer, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    let both = [
        ("warmup", wire.warmup.is_some()),
        ("warmupDurationSecs", wire.warmup_duration_secs.is_some()),
    ];
    let warms = both.iter().any(|(_, set)| *set);
    let able = wire.consistent_hash.is_none()
        && !matches!(wire.simple, Some(SimpleLb::Random | SimpleLb::Passthrough));
    if warms && !able {
        findings
            .error(path, "warmup works only with ROUND_ROBIN and LEAST_REQUEST")
            .suggest("leave warmup out, or change \"simple\"");
    }
    rules::at_most_one(&both, path, findings);
}
