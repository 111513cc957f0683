//! How a cluster chooses hosts: `lb_policy` with its options, or `load_balancing_policy`.

use xds::envoy::cluster as proto;
use xds::envoy::cluster::cluster::common_lb_config::LocalityConfigSpecifier;
use xds::envoy::cluster::cluster::lb_subset_config::LbSubsetFallbackPolicy;
use xds::envoy::cluster::cluster::lb_subset_config::lb_subset_selector::LbSubsetSelectorFallbackPolicy;
use xds::envoy::cluster::cluster::ring_hash_lb_config::HashFunction;
use xds::envoy::cluster::cluster::{
    ClusterDiscoveryType, CommonLbConfig, DiscoveryType, LbConfig, LbPolicy as Policy,
    LbSubsetConfig, LeastRequestLbConfig, RingHashLbConfig,
};

use crate::config::cluster::{Balancing, LbPolicy, RingHashOptions, SubsetFallback, SubsetOptions};
use crate::config::error::{ConfigError, Within};

/// Envoy's default `healthy_panic_threshold`.
const PANIC_THRESHOLD: f64 = 50.0;
const RING_SIZE_MIN: u64 = 1024;
const RING_SIZE_MAX: u64 = 8 * 1024 * 1024;
const MAGLEV_TABLE_SIZE: u64 = 65_537;
/// The largest table that Envoy's API allows.
const MAGLEV_TABLE_SIZE_MAX: u64 = 5_000_011;

pub(super) fn balancing(proto: &proto::Cluster) -> Result<Balancing, ConfigError> {
    if let Some(policy) = &proto.load_balancing_policy {
        let names = policy
            .policies
            .iter()
            .filter_map(|p| p.typed_extension_config.as_ref());
        let names: Vec<&str> = names.map(|config| config.name.as_str()).collect();
        let what = format_args!("\"{}\" (lb_policy is)", names.join(", "));
        return Err(ConfigError::unsupported("load_balancing_policy", what));
    }
    let common = proto.common_lb_config.clone().unwrap_or_default();
    refuse_unsupported(&common).within("common_lb_config")?;
    let threshold = common
        .healthy_panic_threshold
        .map_or(PANIC_THRESHOLD, |p| p.value);
    let locality = &common.locality_config_specifier;
    Ok(Balancing {
        policy: policy(proto, &common)?,
        panic_threshold: threshold.round().clamp(0.0, 100.0) as u8,
        fail_traffic_on_panic: matches!(
            locality,
            Some(LocalityConfigSpecifier::ZoneAwareLbConfig(zone)) if zone.fail_traffic_on_panic
        ),
        locality_weighted: matches!(
            locality,
            Some(LocalityConfigSpecifier::LocalityWeightedLbConfig(_))
        ),
        subsets: proto
            .lb_subset_config
            .as_ref()
            .filter(|config| !config.subset_selectors.is_empty())
            .map(subsets)
            .transpose()
            .within("lb_subset_config")?,
    })
}

fn refuse_unsupported(common: &CommonLbConfig) -> Result<(), ConfigError> {
    if common.close_connections_on_host_set_change {
        let what = "closing all connections when the hosts change";
        return Err(ConfigError::unsupported(
            "close_connections_on_host_set_change",
            what,
        ));
    }
    let hashing = common.consistent_hashing_lb_config.as_ref();
    if hashing.is_some_and(|hashing| hashing.hash_balance_factor.is_some_and(|f| f.value > 0)) {
        let what = "bounded load";
        return Err(ConfigError::unsupported(
            "consistent_hashing_lb_config.hash_balance_factor",
            what,
        ));
    }
    Ok(())
}

fn policy(proto: &proto::Cluster, common: &CommonLbConfig) -> Result<LbPolicy, ConfigError> {
    let hashing = common.consistent_hashing_lb_config.as_ref();
    let use_hostname = hashing.is_some_and(|hashing| hashing.use_hostname_for_hashing);
    let original_dst = matches!(
        proto.cluster_discovery_type,
        Some(ClusterDiscoveryType::Type(kind)) if kind == DiscoveryType::OriginalDst as i32
    );
    let policy = Policy::try_from(proto.lb_policy).map_err(|_| {
        ConfigError::new("lb_policy", format!("no such policy: {}", proto.lb_policy))
    })?;
    match (policy, &proto.lb_config) {
        (Policy::ClusterProvided, _) if original_dst => Ok(LbPolicy::ClusterProvided),
        (_, _) if original_dst => Err(ConfigError::new(
            "lb_policy",
            "an ORIGINAL_DST cluster has CLUSTER_PROVIDED",
        )),
        (Policy::RoundRobin, Some(LbConfig::RoundRobinLbConfig(config)))
            if config.slow_start_config.is_some() =>
        {
            Err(ConfigError::unsupported(
                "round_robin_lb_config.slow_start_config",
                "slow start",
            ))
        }
        (Policy::RoundRobin, _) => Ok(LbPolicy::RoundRobin),
        (Policy::LeastRequest, Some(LbConfig::LeastRequestLbConfig(config))) => {
            least_request(config).within("least_request_lb_config")
        }
        (Policy::LeastRequest, _) => least_request(&LeastRequestLbConfig::default()),
        (Policy::Random, _) => Ok(LbPolicy::Random),
        (Policy::RingHash, Some(LbConfig::RingHashLbConfig(config))) => {
            ring_hash(config, use_hostname).within("ring_hash_lb_config")
        }
        (Policy::RingHash, _) => ring_hash(&RingHashLbConfig::default(), use_hostname),
        (Policy::Maglev, config) => {
            let size = match config {
                Some(LbConfig::MaglevLbConfig(config)) => config.table_size.map(|size| size.value),
                _ => None,
            };
            maglev(size.unwrap_or(MAGLEV_TABLE_SIZE), use_hostname).within("maglev_lb_config")
        }
        (Policy::ClusterProvided, _) => Err(ConfigError::new(
            "lb_policy",
            "CLUSTER_PROVIDED is for ORIGINAL_DST clusters",
        )),
        (Policy::LoadBalancingPolicyConfig, _) => Err(ConfigError::new(
            "load_balancing_policy",
            "missing, but lb_policy refers to it",
        )),
    }
}

fn least_request(config: &LeastRequestLbConfig) -> Result<LbPolicy, ConfigError> {
    if config.slow_start_config.is_some() {
        return Err(ConfigError::unsupported("slow_start_config", "slow start"));
    }
    let bias = config
        .active_request_bias
        .as_ref()
        .map_or(1.0, |bias| bias.default_value);
    if bias < 0.0 {
        return Err(ConfigError::new(
            "active_request_bias",
            "must not be negative",
        ));
    }
    let choice_count = config.choice_count.map_or(2, |count| count.value);
    if choice_count < 2 {
        return Err(ConfigError::new("choice_count", "must be at least 2"));
    }
    Ok(LbPolicy::LeastRequest {
        choice_count,
        active_request_bias: bias,
    })
}

fn ring_hash(config: &RingHashLbConfig, use_hostname: bool) -> Result<LbPolicy, ConfigError> {
    if config.hash_function() != HashFunction::XxHash {
        return Err(ConfigError::unsupported("hash_function", "MURMUR_HASH_2"));
    }
    let minimum_size = config
        .minimum_ring_size
        .map_or(RING_SIZE_MIN, |size| size.value);
    let maximum_size = config
        .maximum_ring_size
        .map_or(RING_SIZE_MAX, |size| size.value);
    if maximum_size > RING_SIZE_MAX || minimum_size > maximum_size {
        let message = format!("minimum {minimum_size}, maximum {maximum_size}");
        return Err(ConfigError::new("minimum_ring_size", message));
    }
    Ok(LbPolicy::RingHash(RingHashOptions {
        minimum_size,
        maximum_size,
        use_hostname,
    }))
}

fn maglev(size: u64, use_hostname: bool) -> Result<LbPolicy, ConfigError> {
    if size > MAGLEV_TABLE_SIZE_MAX || !is_prime(size) {
        let message = format!("must be a prime of at most {MAGLEV_TABLE_SIZE_MAX}: {size}");
        return Err(ConfigError::new("table_size", message));
    }
    Ok(LbPolicy::Maglev {
        table_size: size as u32,
        use_hostname,
    })
}

fn is_prime(number: u64) -> bool {
    number >= 2
        && (2..)
            .take_while(|d| d * d <= number)
            .all(|divisor| !number.is_multiple_of(divisor))
}

fn subsets(config: &LbSubsetConfig) -> Result<SubsetOptions, ConfigError> {
    let refused = [
        ("locality_weight_aware", config.locality_weight_aware),
        ("scale_locality_weight", config.scale_locality_weight),
        ("panic_mode_any", config.panic_mode_any),
        ("list_as_any", config.list_as_any),
        (
            "metadata_fallback_policy",
            config.metadata_fallback_policy != 0,
        ),
    ];
    if let Some((field, _)) = refused.into_iter().find(|(_, present)| *present) {
        return Err(ConfigError::unsupported(field, "this option of subsets"));
    }
    let selectors = config
        .subset_selectors
        .iter()
        .enumerate()
        .map(|(n, selector)| {
            let own_fallback =
                selector.fallback_policy() != LbSubsetSelectorFallbackPolicy::NotDefined;
            if own_fallback || selector.single_host_per_subset {
                let field = format!("subset_selectors[{n}]");
                return Err(ConfigError::unsupported(field, "an option of one selector"));
            }
            let mut keys: Vec<_> = selector
                .keys
                .iter()
                .map(|key| key.as_str().into())
                .collect();
            keys.sort();
            Ok(keys)
        });
    let default = || {
        config
            .default_subset
            .as_ref()
            .map(crate::metadata::fields)
            .unwrap_or_default()
    };
    Ok(SubsetOptions {
        selectors: selectors.collect::<Result<_, _>>()?,
        fallback: match config.fallback_policy() {
            LbSubsetFallbackPolicy::NoFallback => SubsetFallback::NoFallback,
            LbSubsetFallbackPolicy::AnyEndpoint => SubsetFallback::AnyEndpoint,
            LbSubsetFallbackPolicy::DefaultSubset => SubsetFallback::DefaultSubset(default()),
        },
    })
}
