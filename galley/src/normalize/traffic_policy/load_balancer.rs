//! `LoadBalancerSettings`.

use mesh_api::traffic_policy::load_balancer::{
    Algorithm, ConsistentHash, Distribute, HashAlgorithm, HashKey, LoadBalancer, LocalityLbSetting,
    LocalityRule, Warmup,
};

use crate::crd::traffic_policy as wire;
use crate::normalize::some;

const RING_SIZE_DEFAULT: u64 = 1024;
const MAGLEV_TABLE_DEFAULT: u64 = 65537;
const WARMUP_MINIMUM_PERCENT: f64 = 10.0;
const WARMUP_AGGRESSION: f64 = 1.0;

pub(super) fn normalize(wire: &wire::LoadBalancer) -> LoadBalancer {
    let hash = wire.consistent_hash.as_ref().and_then(consistent_hash);
    let algorithm = match (hash, wire.simple.unwrap_or_default()) {
        (Some(hash), _) => Algorithm::ConsistentHash(hash),
        (None, wire::SimpleLb::RoundRobin) => Algorithm::RoundRobin,
        (None, wire::SimpleLb::Random) => Algorithm::Random,
        (None, wire::SimpleLb::Passthrough) => Algorithm::Passthrough,
        (
            None,
            wire::SimpleLb::Unspecified | wire::SimpleLb::LeastConn | wire::SimpleLb::LeastRequest,
        ) => Algorithm::LeastRequest,
    };
    LoadBalancer {
        algorithm,
        locality: wire.locality_lb_setting.as_ref().map(locality),
        warmup: warmup(wire),
    }
}

fn warmup(wire: &wire::LoadBalancer) -> Option<Warmup> {
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

/// Nothing if the only key is `useSourceIp: false`, which asks for no hashing.
fn consistent_hash(wire: &wire::ConsistentHash) -> Option<ConsistentHash> {
    let key = if let Some(name) = &wire.http_header_name {
        HashKey::Header(name.as_str().into())
    } else if let Some(name) = &wire.http_query_parameter_name {
        HashKey::QueryParameter(name.as_str().into())
    } else if let Some(cookie) = &wire.http_cookie {
        HashKey::Cookie {
            name: cookie.name.as_str().into(),
            path: some(&cookie.path),
            ttl: cookie.ttl.map(|ttl| ttl.0),
            attributes: cookie
                .attributes
                .iter()
                .map(|attribute| {
                    (
                        attribute.name.as_str().into(),
                        attribute.value.as_str().into(),
                    )
                })
                .collect(),
        }
    } else if wire.use_source_ip == Some(true) {
        HashKey::SourceIp
    } else {
        return None;
    };
    let algorithm = match (&wire.maglev, &wire.ring_hash) {
        (Some(maglev), _) => HashAlgorithm::Maglev {
            table_size: or_default(maglev.table_size, MAGLEV_TABLE_DEFAULT),
        },
        (None, Some(ring)) => HashAlgorithm::RingHash {
            minimum_ring_size: or_default(ring.minimum_ring_size, RING_SIZE_DEFAULT),
        },
        (None, None) => HashAlgorithm::RingHash {
            minimum_ring_size: or_default(wire.minimum_ring_size, RING_SIZE_DEFAULT),
        },
    };
    Some(ConsistentHash { key, algorithm })
}

fn or_default(value: u64, default: u64) -> u64 {
    if value == 0 { default } else { value }
}

/// Also the mesh's setting.
pub(crate) fn locality(wire: &wire::LocalityLbSetting) -> LocalityLbSetting {
    let rule = if !wire.distribute.is_empty() {
        let rules = wire.distribute.iter().map(|rule| Distribute {
            from: rule.from.as_str().into(),
            to: rule
                .to
                .iter()
                .map(|(to, share)| (to.as_str().into(), *share))
                .collect(),
        });
        LocalityRule::Distribute(rules.collect())
    } else if !wire.failover.is_empty() {
        let rules = wire.failover.iter();
        LocalityRule::Failover(
            rules
                .map(|rule| (rule.from.as_str().into(), rule.to.as_str().into()))
                .collect(),
        )
    } else if !wire.failover_priority.is_empty() {
        let labels = wire
            .failover_priority
            .iter()
            .map(|label| match label.split_once('=') {
                Some((key, value)) => (key.into(), Some(value.into())),
                None => (label.as_str().into(), None),
            });
        LocalityRule::FailoverPriority(labels.collect())
    } else {
        LocalityRule::Default
    };
    LocalityLbSetting {
        enabled: wire.enabled.unwrap_or(true),
        rule,
    }
}
