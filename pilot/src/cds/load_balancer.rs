//! Which endpoint gets a request.

use mesh_api::mesh_config::MeshConfig;
use mesh_api::service::TrafficDistribution;
use mesh_api::traffic_policy::PortPolicy;
use mesh_api::traffic_policy::load_balancer::{
    Algorithm, HashAlgorithm, LoadBalancer, LocalityLbSetting, LocalityRule, Warmup,
};
use xds::envoy::cluster::{Cluster, cluster as wire_cluster};
use xds::envoy::core;
use xds::pb::google::protobuf::UInt64Value;

use super::Inputs;
use crate::wire;

use wire_cluster::{
    LbConfig, LbPolicy, LeastRequestLbConfig, MaglevLbConfig, RingHashLbConfig, RoundRobinLbConfig,
    SlowStartConfig,
    common_lb_config::{LocalityConfigSpecifier, LocalityWeightedLbConfig},
};

/// Applies a policy's balancer.
pub(super) fn apply(cluster: &mut Cluster, inputs: &Inputs, policy: &PortPolicy) {
    let original_dst = Some(wire_cluster::ClusterDiscoveryType::Type(
        wire_cluster::DiscoveryType::OriginalDst.into(),
    ));
    if cluster.cluster_discovery_type == original_dst {
        cluster.lb_policy = LbPolicy::ClusterProvided.into();
        return;
    }
    let common = cluster.common_lb_config.get_or_insert_default();
    if inputs.service.publish_not_ready {
        // Panic would prefer the unready ones that the service asks to keep.
        common.healthy_panic_threshold = Some(wire::percent(0.0));
    }
    let balancer = policy.load_balancer.as_ref();
    let setting = locality_setting(balancer, &inputs.mesh, inputs.service.traffic_distribution);
    if setting.is_some_and(|setting| matches!(setting.rule, LocalityRule::Distribute(_))) {
        let weighted = LocalityWeightedLbConfig::default();
        common.locality_config_specifier =
            Some(LocalityConfigSpecifier::LocalityWeightedLbConfig(weighted));
    }
    let default = Algorithm::default();
    let algorithm = balancer.map_or(&default, |balancer| &balancer.algorithm);
    // Our own proxy has no slow start, and would refuse the cluster.
    let warmup = balancer
        .and_then(|balancer| balancer.warmup)
        .filter(|_| !inputs.weft);
    let (lb_policy, lb_config) = algorithm_config(algorithm, warmup);
    cluster.lb_policy = lb_policy.into();
    cluster.lb_config = lb_config;
}

/// The locality setting in force for a service.
pub(crate) fn locality_setting(
    balancer: Option<&LoadBalancer>,
    mesh: &MeshConfig,
    distribution: TrafficDistribution,
) -> Option<LocalityLbSetting> {
    let own = balancer.and_then(|balancer| balancer.locality.clone());
    let own = own.or_else(|| match distribution {
        TrafficDistribution::Any => None,
        TrafficDistribution::PreferSameZone | TrafficDistribution::PreferSameNode => {
            Some(LocalityLbSetting::default())
        }
    });
    own.or_else(|| mesh.locality_lb.clone())
        .filter(|setting| setting.enabled)
}

fn algorithm_config(algorithm: &Algorithm, warmup: Option<Warmup>) -> (LbPolicy, Option<LbConfig>) {
    let slow_start = warmup.map(slow_start);
    match algorithm {
        Algorithm::LeastRequest => {
            let config = slow_start.map(|slow_start| {
                LbConfig::LeastRequestLbConfig(LeastRequestLbConfig {
                    slow_start_config: Some(slow_start),
                    ..Default::default()
                })
            });
            (LbPolicy::LeastRequest, config)
        }
        Algorithm::RoundRobin => {
            let config = slow_start.map(|slow_start| {
                LbConfig::RoundRobinLbConfig(RoundRobinLbConfig {
                    slow_start_config: Some(slow_start),
                })
            });
            (LbPolicy::RoundRobin, config)
        }
        Algorithm::Random => (LbPolicy::Random, None),
        Algorithm::Passthrough => (LbPolicy::ClusterProvided, None),
        Algorithm::ConsistentHash(hash) => match hash.algorithm {
            HashAlgorithm::RingHash { minimum_ring_size } => {
                let config = RingHashLbConfig {
                    minimum_ring_size: Some(UInt64Value {
                        value: minimum_ring_size,
                    }),
                    ..Default::default()
                };
                (LbPolicy::RingHash, Some(LbConfig::RingHashLbConfig(config)))
            }
            HashAlgorithm::Maglev { table_size } => {
                let config = MaglevLbConfig {
                    table_size: Some(UInt64Value { value: table_size }),
                };
                (LbPolicy::Maglev, Some(LbConfig::MaglevLbConfig(config)))
            }
        },
    }
}

fn slow_start(warmup: Warmup) -> SlowStartConfig {
    SlowStartConfig {
        slow_start_window: Some(wire::duration(warmup.duration)),
        aggression: Some(core::RuntimeDouble {
            default_value: warmup.aggression,
            runtime_key: "warmup.aggression".to_owned(),
        }),
        min_weight_percent: Some(wire::percent(warmup.minimum_percent)),
    }
}
