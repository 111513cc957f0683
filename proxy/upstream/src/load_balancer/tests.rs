use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use proptest::prelude::*;
use xds::envoy::cluster as proto;
use xds::envoy::cluster::cluster::LbPolicy as Policy;
use xds::envoy::core::HealthStatus;
use xds::envoy::endpoint::{LbEndpoint, LocalityLbEndpoints};

use super::*;
use crate::Outcome;
use crate::config::metadata::{Struct, Value};
use crate::shared::SharedAssignment;
use crate::test_util::{assignment, hosts, lb_endpoint, locality, static_cluster, translate};

fn cluster(policy: Policy) -> proto::Cluster {
    proto::Cluster {
        lb_policy: policy as i32,
        ..static_cluster()
    }
}

fn endpoint(port: u16, weight: u32) -> LbEndpoint {
    lb_endpoint("127.0.0.1", port, weight)
}

/// A balancer with its hosts.
fn balancer(
    proto: &proto::Cluster,
    localities: Vec<LocalityLbEndpoints>,
) -> (LoadBalancer, Vec<Rc<Host>>) {
    let config = translate(proto).unwrap();
    let balancing = config.balancing.clone();
    let assignment = SharedAssignment::new(Arc::new(assignment(localities)), None);
    let hosts = hosts(config, &assignment);
    (
        LoadBalancer::new(&balancing, Some(&assignment.config), &hosts).seeded(7),
        hosts,
    )
}

/// How often each port was picked.
fn ports(balancer: &mut LoadBalancer, picks: u32, context: &PickContext<'_>) -> BTreeMap<u16, u32> {
    let mut ports = BTreeMap::new();
    for _ in 0..picks {
        if let Some(host) = balancer.pick(context).host {
            *ports.entry(host.address().port()).or_default() += 1;
        }
    }
    ports
}

fn flat(endpoints: Vec<LbEndpoint>) -> Vec<LocalityLbEndpoints> {
    vec![locality(0, 1, endpoints)]
}

#[test]
fn round_robin_takes_turns() {
    let endpoints = vec![endpoint(1, 1), endpoint(2, 1), endpoint(3, 1)];
    let (mut balancer, _) = balancer(&cluster(Policy::RoundRobin), flat(endpoints));
    let picks = ports(&mut balancer, 9, &PickContext::default());
    assert_eq!(picks, BTreeMap::from([(1, 3), (2, 3), (3, 3)]));
}

#[test]
fn round_robin_follows_weights_exactly() {
    let endpoints = vec![endpoint(1, 1), endpoint(2, 2), endpoint(3, 7)];
    let (mut balancer, _) = balancer(&cluster(Policy::RoundRobin), flat(endpoints));
    let picks = ports(&mut balancer, 100, &PickContext::default());
    assert_eq!(picks, BTreeMap::from([(1, 10), (2, 20), (3, 70)]));
}

#[test]
fn random_ignores_weights() {
    let endpoints = vec![endpoint(1, 1), endpoint(2, 99)];
    let (mut balancer, _) = balancer(&cluster(Policy::Random), flat(endpoints));
    let picks = ports(&mut balancer, 10_000, &PickContext::default());
    // Four standard deviations of a fair coin.
    assert!(picks[&1].abs_diff(5_000) < 200, "{picks:?}");
}

#[test]
fn least_request_avoids_the_busy_host() {
    let endpoints = vec![endpoint(1, 1), endpoint(2, 1)];
    let (mut balancer, hosts) = balancer(&cluster(Policy::LeastRequest), flat(endpoints));
    hosts[0].state.active.set(5);
    let picks = ports(&mut balancer, 10_000, &PickContext::default());
    // The busy one is chosen only when both candidates are it: a quarter.
    assert!(picks[&1].abs_diff(2_500) < 175, "{picks:?}");
}

#[test]
fn least_request_with_weights_lowers_those_of_busy_hosts() {
    let endpoints = vec![endpoint(1, 4), endpoint(2, 1)];
    let (mut balancer, hosts) = balancer(&cluster(Policy::LeastRequest), flat(endpoints));
    hosts[0].state.active.set(3);
    let picks = ports(&mut balancer, 1_000, &PickContext::default());
    assert!(
        picks[&1].abs_diff(500) <= 4,
        "four shared by four requests is as good as one: {picks:?}"
    );
}

#[test]
fn the_same_hash_leads_to_the_same_host_by_both_hash_policies() {
    for policy in [Policy::RingHash, Policy::Maglev] {
        let endpoints = (1..=10).map(|port| endpoint(port, 1)).collect();
        let (mut balancer, _) = balancer(&cluster(policy), flat(endpoints));
        for hash in [0, 1, 42, u64::MAX] {
            let context = PickContext {
                hash: Some(hash),
                ..Default::default()
            };
            assert_eq!(
                ports(&mut balancer, 5, &context).len(),
                1,
                "{policy:?} {hash}"
            );
        }
        assert!(
            ports(&mut balancer, 100, &PickContext::default()).len() > 5,
            "no hash is any hash"
        );
    }
}

#[test]
fn another_attempt_avoids_hosts_that_were_tried() {
    for policy in [Policy::RoundRobin, Policy::RingHash, Policy::Maglev] {
        let endpoints = (1..=4).map(|port| endpoint(port, 1)).collect();
        let (mut balancer, _) = balancer(&cluster(policy), flat(endpoints));
        let context = PickContext {
            hash: Some(99),
            ..Default::default()
        };
        let first = balancer.pick(&context).host.unwrap().address();
        let tried = [first];
        let again = PickContext {
            tried: &tried,
            attempts: 20,
            ..context
        };
        assert_ne!(
            balancer.pick(&again).host.unwrap().address(),
            first,
            "{policy:?}"
        );
    }
}

fn with_health(port: u16, health: HealthStatus) -> LbEndpoint {
    LbEndpoint {
        health_status: health as i32,
        ..endpoint(port, 1)
    }
}

#[test]
fn unhealthy_and_draining_hosts_are_passed_over_until_there_is_panic() {
    let mut endpoints = vec![
        endpoint(1, 1),
        endpoint(2, 1),
        with_health(3, HealthStatus::Unhealthy),
        with_health(4, HealthStatus::Draining),
    ];
    let (mut calm, _) = balancer(&cluster(Policy::RoundRobin), flat(endpoints.clone()));
    assert_eq!(
        ports(&mut calm, 4, &PickContext::default()),
        BTreeMap::from([(1, 2), (2, 2)])
    );

    endpoints[1].health_status = HealthStatus::Timeout as i32;
    let (mut panicking, _) = balancer(&cluster(Policy::RoundRobin), flat(endpoints.clone()));
    assert_eq!(ports(&mut panicking, 4, &PickContext::default()).len(), 4);
    assert!(panicking.pick(&PickContext::default()).panic);

    let mut never = cluster(Policy::RoundRobin);
    never.common_lb_config = Some(proto::cluster::CommonLbConfig {
        healthy_panic_threshold: Some(xds::envoy::types::Percent { value: 0.0 }),
        ..Default::default()
    });
    let (mut never, _) = balancer(&never, flat(endpoints));
    assert_eq!(
        ports(&mut never, 4, &PickContext::default()),
        BTreeMap::from([(1, 4)])
    );
}

#[test]
fn without_panic_no_healthy_host_is_no_host() {
    let mut never = cluster(Policy::RoundRobin);
    never.common_lb_config = Some(proto::cluster::CommonLbConfig {
        healthy_panic_threshold: Some(xds::envoy::types::Percent { value: 0.0 }),
        ..Default::default()
    });
    let (mut none, _) = balancer(&never, flat(vec![with_health(1, HealthStatus::Unhealthy)]));
    assert!(none.pick(&PickContext::default()).host.is_none());
    let (mut empty, _) = balancer(&never, Vec::new());
    assert!(empty.pick(&PickContext::default()).host.is_none());
}

#[test]
fn the_next_priority_serves_when_the_first_cannot() {
    let localities = vec![
        locality(0, 1, vec![with_health(1, HealthStatus::Unhealthy)]),
        locality(1, 1, vec![endpoint(2, 1)]),
    ];
    let (mut balancer, _) = balancer(&cluster(Policy::RoundRobin), localities);
    assert_eq!(
        ports(&mut balancer, 10, &PickContext::default()),
        BTreeMap::from([(2, 10)])
    );
}

#[test]
fn degraded_hosts_serve_when_healthy_ones_do_not_suffice() {
    let endpoints = vec![endpoint(1, 1), with_health(2, HealthStatus::Degraded)];
    let (mut balancer, _) = balancer(&cluster(Policy::RoundRobin), flat(endpoints));
    let picks = ports(&mut balancer, 10_000, &PickContext::default());
    // 140 % of one half are 70 %.
    assert!(picks[&1].abs_diff(7_000) < 184, "{picks:?}");
}

#[test]
fn localities_share_by_their_weights() {
    let mut weighted = cluster(Policy::RoundRobin);
    weighted.common_lb_config = Some(proto::cluster::CommonLbConfig {
        locality_config_specifier: Some(
            proto::cluster::common_lb_config::LocalityConfigSpecifier::LocalityWeightedLbConfig(
                Default::default(),
            ),
        ),
        ..Default::default()
    });
    let localities = vec![
        locality(0, 80, vec![endpoint(1, 1)]),
        locality(0, 20, vec![endpoint(2, 1), endpoint(3, 1)]),
    ];
    let (mut balancer, _) = balancer(&weighted, localities);
    let picks = ports(&mut balancer, 100, &PickContext::default());
    assert_eq!(picks, BTreeMap::from([(1, 80), (2, 10), (3, 10)]));
}

#[test]
fn an_ejected_host_is_passed_over() {
    let mut detecting = cluster(Policy::RoundRobin);
    detecting.outlier_detection = Some(proto::OutlierDetection {
        max_ejection_percent: Some(xds::pb::google::protobuf::UInt32Value { value: 100 }),
        ..Default::default()
    });
    let config = translate(&detecting).unwrap();
    let balancing = config.balancing.clone();
    let assignment = assignment(flat(vec![endpoint(1, 1), endpoint(2, 1)]));
    let assignment = SharedAssignment::new(Arc::new(assignment), None);
    let hosts = hosts(config, &assignment);
    let cluster = hosts[0].core.config.clone();
    let detection = cluster.outlier_detection.as_ref().unwrap();
    detection.set_hosts(assignment.endpoints.iter().map(|e| e.monitor.clone()));
    for _ in 0..5 {
        hosts[0].record(Outcome::Response(500));
    }
    let mut balancer = LoadBalancer::new(&balancing, Some(&assignment.config), &hosts);
    assert_eq!(
        ports(&mut balancer, 4, &PickContext::default()),
        BTreeMap::from([(2, 4)])
    );
    detection.sweep(Instant::now() + detection.settings.base_ejection_time);
    let mut balancer = LoadBalancer::new(&balancing, Some(&assignment.config), &hosts);
    assert_eq!(ports(&mut balancer, 4, &PickContext::default()).len(), 2);
}

fn version(value: &str) -> Struct {
    [("version".into(), Value::String(value.into()))]
        .into_iter()
        .collect()
}

#[test]
fn subsets_follow_metadata_and_fall_back_as_told() {
    use proto::cluster::lb_subset_config::{LbSubsetFallbackPolicy, LbSubsetSelector};
    let labelled = |port: u16, value: &str| {
        use xds::pb::google::protobuf as wire;
        let kind = Some(wire::value::Kind::StringValue(value.into()));
        let fields = [("version".to_owned(), wire::Value { kind })].into();
        let filter_metadata = [("envoy.lb".to_owned(), wire::Struct { fields })].into();
        let metadata = xds::envoy::core::Metadata {
            filter_metadata,
            ..Default::default()
        };
        LbEndpoint {
            metadata: Some(metadata),
            ..endpoint(port, 1)
        }
    };
    let endpoints = || {
        flat(vec![
            labelled(1, "v1"),
            labelled(2, "v2"),
            labelled(3, "v2"),
        ])
    };
    let subset_cluster = |fallback: LbSubsetFallbackPolicy| {
        let mut proto = cluster(Policy::RoundRobin);
        proto.lb_subset_config = Some(proto::cluster::LbSubsetConfig {
            fallback_policy: fallback as i32,
            subset_selectors: vec![LbSubsetSelector {
                keys: vec!["version".into()],
                ..Default::default()
            }],
            ..Default::default()
        });
        proto
    };
    let (v2, v9) = (version("v2"), version("v9"));
    let wanting = |wanted| PickContext {
        metadata_match: Some(wanted),
        ..Default::default()
    };
    let (mut none, _) = balancer(
        &subset_cluster(LbSubsetFallbackPolicy::NoFallback),
        endpoints(),
    );
    assert_eq!(
        ports(&mut none, 4, &wanting(&v2)),
        BTreeMap::from([(2, 2), (3, 2)])
    );
    assert_eq!(ports(&mut none, 4, &wanting(&v9)), BTreeMap::new());
    assert_eq!(
        ports(&mut none, 4, &PickContext::default()),
        BTreeMap::new()
    );
    let (mut any, _) = balancer(
        &subset_cluster(LbSubsetFallbackPolicy::AnyEndpoint),
        endpoints(),
    );
    assert_eq!(ports(&mut any, 6, &wanting(&v9)).len(), 3);
}

proptest! {
    #[test]
    fn any_assignment_picks_only_its_own_hosts(
        policy in prop_oneof![
            Just(Policy::RoundRobin), Just(Policy::LeastRequest), Just(Policy::Random), Just(Policy::RingHash)
        ],
        hosts in proptest::collection::vec((1_u16..1000, 1_u32..20, 0_i32..6, 0_u32..3), 0..8),
        hash in any::<Option<u64>>(),
    ) {
        let localities = hosts.iter().map(|(port, weight, health, priority)| {
            let endpoint = LbEndpoint { health_status: *health, ..endpoint(*port, *weight) };
            locality(*priority, *weight, vec![endpoint])
        });
        let (mut balancer, _) = balancer(&cluster(policy), localities.collect());
        let context = PickContext { hash, ..Default::default() };
        for _ in 0..20 {
            let picked = balancer.pick(&context).host.map(|host| host.address().port());
            // With panic allowed there is always someone, if there is anyone.
            prop_assert_eq!(picked.is_some(), !hosts.is_empty());
            if let Some(port) = picked {
                prop_assert!(hosts.iter().any(|(known, ..)| *known == port));
            }
        }
    }
}
