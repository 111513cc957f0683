//! Rules of `LoadBalancerSettings`.

use std::collections::BTreeSet;

use crate::crd::traffic_policy::{
    ConsistentHash, LoadBalancer, LocalityLbSetting, SimpleLb, Warmup,
};
use crate::manifest::path::FieldPath;
use crate::validate::{Findings, rules};

/// Envoy's limit of Maglev tables.
const MAGLEV_TABLE_MAX: u64 = 5_000_011;

const NO_WARMUP: &str =
    "not supported yet by the data plane \"weft\": the field has no effect there";

pub(super) fn validate(
    balancer: &LoadBalancer,
    outlier_detection: bool,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) {
    let algorithms = [
        ("simple", balancer.simple.is_some()),
        ("consistentHash", balancer.consistent_hash.is_some()),
    ];
    rules::at_most_one(&algorithms, path, findings);
    if balancer.simple == Some(SimpleLb::LeastConn) {
        findings.deprecated(&path.field("simple"), "LEAST_REQUEST");
    }
    if let Some(hash) = &balancer.consistent_hash {
        consistent_hash(hash, &path.field("consistentHash"), findings);
    }
    if let Some(setting) = &balancer.locality_lb_setting {
        let at = path.field("localityLbSetting");
        locality(setting, &at, findings);
        let failover = !setting.failover.is_empty() || !setting.failover_priority.is_empty();
        if failover && !outlier_detection {
            findings
                .warn(
                    &at,
                    "failover works only with outlierDetection in the same policy",
                )
                .suggest("add outlierDetection");
        }
    }
    if balancer.zone_aware_lb_setting.is_some() {
        findings.not_supported(&path.field("zoneAwareLbSetting"));
    }
    if let Some(warmup_) = &balancer.warmup {
        let at = path.field("warmup");
        warmup(warmup_, &at, findings);
        findings.without_effect(&at, NO_WARMUP);
    }
    if balancer.warmup_duration_secs.is_some() {
        let at = path.field("warmupDurationSecs");
        findings.deprecated(&at, "warmup: {duration: 30s}");
        findings.without_effect(&at, NO_WARMUP);
        rules::duration(balancer.warmup_duration_secs, &at, findings);
    }
    slow_start(balancer, path, findings);
}

fn slow_start(balancer: &LoadBalancer, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    let warms = balancer.warmup.is_some() || balancer.warmup_duration_secs.is_some();
    let able = balancer.consistent_hash.is_none()
        && !matches!(
            balancer.simple,
            Some(SimpleLb::Random | SimpleLb::Passthrough)
        );
    if warms && !able {
        findings
            .error(path, "warmup works only with ROUND_ROBIN and LEAST_REQUEST")
            .suggest("leave warmup out, or change \"simple\"");
    }
    let both = [
        ("warmup", balancer.warmup.is_some()),
        (
            "warmupDurationSecs",
            balancer.warmup_duration_secs.is_some(),
        ),
    ];
    rules::at_most_one(&both, path, findings);
}

fn warmup(warmup: &Warmup, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    let duration = path.field("duration");
    match warmup.duration {
        Some(_) => rules::duration(warmup.duration, &duration, findings),
        None => {
            findings.error(&duration, "the duration is required");
        }
    }
    if let Some(percent) = warmup.minimum_percent {
        rules::percent(percent, &path.field("minimumPercent"), findings);
    }
    if warmup
        .aggression
        .is_some_and(|aggression| aggression <= 0.0)
    {
        findings.error(&path.field("aggression"), "the aggression must be above 0");
    }
}

fn consistent_hash(hash: &ConsistentHash, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    let keys = [
        ("httpHeaderName", hash.http_header_name.is_some()),
        ("httpCookie", hash.http_cookie.is_some()),
        ("useSourceIp", hash.use_source_ip.is_some()),
        (
            "httpQueryParameterName",
            hash.http_query_parameter_name.is_some(),
        ),
    ];
    if rules::at_most_one(&keys, path, findings) == 0 {
        findings
            .error(path, "nothing is hashed")
            .suggest("set httpHeaderName, httpCookie, useSourceIp or httpQueryParameterName");
    }
    for (field, name) in [
        ("httpHeaderName", &hash.http_header_name),
        ("httpQueryParameterName", &hash.http_query_parameter_name),
    ] {
        if name.as_deref() == Some("") {
            findings.error(&path.field(field), "the name is empty");
        }
    }
    if let Some(cookie) = &hash.http_cookie {
        let path = path.field("httpCookie");
        if cookie.name.is_empty() {
            findings.error(&path.field("name"), "the cookie needs a name");
        }
        rules::duration_or_zero(cookie.ttl, &path.field("ttl"), findings);
        let mut seen = BTreeSet::new();
        for (index, attribute) in cookie.attributes.iter().enumerate() {
            let attributes = path.field("attributes");
            let at = attributes.index(index);
            if attribute.name.is_empty() {
                findings.error(&at.field("name"), "the attribute needs a name");
            } else if !seen.insert(&attribute.name) {
                findings.error(&at, format!("duplicate attribute \"{}\"", attribute.name));
            }
        }
    }
    let algorithms = [
        ("ringHash", hash.ring_hash.is_some()),
        ("maglev", hash.maglev.is_some()),
    ];
    rules::at_most_one(&algorithms, path, findings);
    if let Some(size) = hash.maglev.as_ref().map(|maglev| maglev.table_size)
        && size != 0
        && (size >= MAGLEV_TABLE_MAX || !is_prime(size))
    {
        let message = format!("{size} is not a prime below {MAGLEV_TABLE_MAX}");
        findings.error(&path.field("maglev").field("tableSize"), message);
    }
    if hash.minimum_ring_size != 0 {
        findings.deprecated(
            &path.field("minimumRingSize"),
            "ringHash: {minimumRingSize: N}",
        );
    }
}

/// Miller and Rabin's test, which with these bases is exact below 25,326,001. A search for divisors would take
/// thousands of steps for each of many policies.
fn is_prime(number: u64) -> bool {
    const BASES: [u64; 3] = [2, 3, 5];
    if number < 2 {
        return false;
    }
    if let Some(base) = BASES.into_iter().find(|base| number.is_multiple_of(*base)) {
        return number == base;
    }
    let twos = (number - 1).trailing_zeros();
    let odd = (number - 1) >> twos;
    BASES.into_iter().all(|base| {
        let mut power = power_modulo(base, odd, number);
        let witness = power != 1
            && (0..twos).all(|_| {
                let composite = power != number - 1;
                power = power * power % number;
                composite
            });
        !witness
    })
}

fn power_modulo(mut base: u64, mut exponent: u64, modulus: u64) -> u64 {
    let mut power = 1;
    while exponent > 0 {
        if exponent % 2 == 1 {
            power = power * base % modulus;
        }
        base = base * base % modulus;
        exponent /= 2;
    }
    power
}

/// Also the mesh's setting.
pub(crate) fn locality(
    setting: &LocalityLbSetting,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) {
    let set = [
        ("distribute", !setting.distribute.is_empty()),
        ("failover", !setting.failover.is_empty()),
        ("failoverPriority", !setting.failover_priority.is_empty()),
    ];
    rules::at_most_one(&set, path, findings);
    for (index, rule) in setting.distribute.iter().enumerate() {
        let distribute = path.field("distribute");
        let at = distribute.index(index);
        star_at_the_end(&rule.from, &at.field("from"), findings);
        let to = at.field("to");
        for (locality, weight) in &rule.to {
            star_at_the_end(locality, &to.field(locality), findings);
            if !(1..=100).contains(weight) {
                findings.error(
                    &to.field(locality),
                    format!("weight {weight} is not 1 to 100"),
                );
            }
        }
        let total: u64 = rule.to.values().map(|weight| u64::from(*weight)).sum();
        if total != 100 {
            findings.error(&to, format!("the weights add up to {total} instead of 100"));
        }
    }
    for (index, rule) in setting.failover.iter().enumerate() {
        let failover = path.field("failover");
        let at = failover.index(index);
        if rule.from == rule.to {
            findings.error(&at, format!("\"{}\" cannot fail over to itself", rule.from));
        }
        for (field, region) in [("from", &rule.from), ("to", &rule.to)] {
            if region.is_empty() || region.contains(['/', '*']) {
                findings.error(&at.field(field), format!("\"{region}\" is not a region"));
            }
        }
    }
}

fn star_at_the_end(locality: &str, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    let inner = locality.strip_suffix('*').unwrap_or(locality);
    if locality.is_empty() || inner.contains('*') {
        let message = format!("\"{locality}\" is not region/zone/subzone with '*' only at the end");
        findings.error(path, message);
    }
}

#[cfg(test)]
mod tests {
    use super::is_prime;

    #[test]
    fn primes_are_those_without_divisors() {
        let divided = |n: u64| {
            n >= 2
                && (2..)
                    .take_while(|d| d * d <= n)
                    .all(|d| !n.is_multiple_of(d))
        };
        for number in (0..20_000).chain(4_999_000..5_000_011) {
            assert_eq!(is_prime(number), divided(number), "{number}");
        }
    }
}
