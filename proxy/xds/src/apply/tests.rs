//! The applier with translations of listeners and routes that stand for the real ones.

use std::net::IpAddr;

use rstest::rstest;
use xds::envoy::cluster as cds;
use xds::envoy::cluster::cluster::{ClusterDiscoveryType, DiscoveryType, EdsClusterConfig};
use xds::envoy::core::ConfigSource;
use xds::envoy::core::config_source::ConfigSourceSpecifier;
use xds::envoy::listener::Listener as ListenerProto;
use xds::envoy::route::RouteConfiguration;
use xds::prost::Message;

use super::*;
use crate::lds;
use crate::test_util::{PlainTarget, lb_endpoint, locality, static_cluster};

struct Fixture {
    applier: Applier<PlainTarget>,
    handle: PlainTarget,
    status: Arc<XdsStatus>,
    now: Instant,
}

impl Fixture {
    fn new() -> Self {
        let handle = PlainTarget::default();
        let status = Arc::new(XdsStatus::default());
        let translators = Translators {
            listener: lds::listener,
            route: |_, _| Ok(RouteConfig::default()),
        };
        let applier = Applier::new(handle.clone(), Arc::default(), translators, status.clone());
        Self {
            applier,
            handle,
            status,
            now: Instant::now(),
        }
    }

    /// Applies one resource; the reason if it was refused.
    fn apply<M: Message>(
        &mut self,
        resource_type: ResourceType,
        name: &str,
        proto: &M,
    ) -> Option<String> {
        let resource = Received {
            name: name.into(),
            version: "1".into(),
            bytes: proto.encode_to_vec().into(),
        };
        let refused = self
            .applier
            .apply(resource_type, &[resource], &[], self.now);
        self.applier.flush();
        refused.into_iter().next().map(|(_, reason)| reason)
    }

    fn remove(&mut self, resource_type: ResourceType, name: &str) {
        self.applier
            .apply(resource_type, &[], &[name.to_owned()], self.now);
        self.applier.flush();
    }

    fn cluster(&mut self, name: &str) -> Option<Arc<Cluster>> {
        let id = self.applier.names.cluster(name);
        self.handle.load().cluster(id).cloned()
    }

    fn endpoints(&mut self, name: &str) -> Vec<String> {
        let id = self.applier.names.cluster(name);
        let config = self.handle.load();
        let endpoints = config
            .endpoints(id)
            .into_iter()
            .flat_map(|all| all.endpoints());
        endpoints
            .map(|(_, _, endpoint)| endpoint.address.to_string())
            .collect()
    }
}

fn eds_cluster(name: &str) -> cds::Cluster {
    let ads = ConfigSourceSpecifier::Ads(Default::default());
    cds::Cluster {
        name: name.into(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Eds as i32)),
        eds_cluster_config: Some(EdsClusterConfig {
            eds_config: Some(ConfigSource {
                config_source_specifier: Some(ads),
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn assignment(name: &str, ports: &[u16]) -> ClusterLoadAssignment {
    let endpoints = ports
        .iter()
        .map(|port| lb_endpoint("10.0.0.1", *port, 1))
        .collect();
    ClusterLoadAssignment {
        cluster_name: name.into(),
        endpoints: vec![locality(0, 1, endpoints)],
        ..Default::default()
    }
}

fn names(list: &[&str]) -> BTreeSet<Arc<str>> {
    list.iter().map(|name| Arc::from(*name)).collect()
}

#[test]
fn a_cluster_comes_into_force_with_its_endpoints() {
    let mut fixture = Fixture::new();
    fixture.apply(ResourceType::Cluster, "a", &eds_cluster("a"));
    assert!(fixture.cluster("a").is_none());
    assert_eq!(fixture.applier.warming(), ["a".into()]);
    assert_eq!(fixture.applier.wanted().endpoints, names(&["a"]));

    fixture.apply(ResourceType::Endpoint, "a", &assignment("a", &[80, 81]));
    assert!(fixture.cluster("a").is_some());
    assert_eq!(fixture.endpoints("a"), ["10.0.0.1:80", "10.0.0.1:81"]);
    assert_eq!(fixture.applier.warming(), Vec::<Arc<str>>::new());
}

#[test]
fn a_cluster_without_an_assignment_comes_into_force_empty() {
    let mut fixture = Fixture::new();
    fixture.apply(ResourceType::Cluster, "a", &eds_cluster("a"));
    fixture.remove(ResourceType::Endpoint, "a");
    assert!(fixture.cluster("a").is_some());
    assert!(fixture.endpoints("a").is_empty());
}

#[test]
fn what_never_comes_is_not_waited_for_for_ever() {
    let mut fixture = Fixture::new();
    fixture.apply(ResourceType::Cluster, "a", &eds_cluster("a"));
    let deadline = fixture.applier.deadline().unwrap();
    assert_eq!(deadline, fixture.now + INITIAL_FETCH_TIMEOUT);
    fixture.applier.tick(deadline);
    fixture.applier.flush();
    assert!(fixture.cluster("a").is_some());
}

#[test]
fn a_change_of_endpoints_touches_its_slot_only() {
    let mut fixture = Fixture::new();
    for name in ["a", "b"] {
        fixture.apply(ResourceType::Cluster, name, &eds_cluster(name));
        fixture.apply(ResourceType::Endpoint, name, &assignment(name, &[80]));
    }
    let before = fixture.handle.load();
    fixture.apply(ResourceType::Endpoint, "a", &assignment("a", &[80, 81]));
    let after = fixture.handle.load();
    let same = |slot: usize| {
        let arcs = |config: &Config| config.endpoints[slot].clone().unwrap();
        Arc::ptr_eq(&arcs(&before), &arcs(&after))
    };
    assert_eq!([same(0), same(1)], [false, true]);
    for (old, new) in before.clusters.iter().zip(&after.clusters) {
        assert!(Arc::ptr_eq(old.as_ref().unwrap(), new.as_ref().unwrap()));
    }
    let endpoint = |config: &Config| {
        let all = config.endpoints[0].clone().unwrap();
        all.endpoints().next().unwrap().2.clone()
    };
    assert!(
        Arc::ptr_eq(&endpoint(&before), &endpoint(&after)),
        "the endpoint that stays is the same"
    );
}

#[test]
fn a_resource_that_did_not_change_is_not_published_again() {
    let mut fixture = Fixture::new();
    fixture.apply(ResourceType::Cluster, "c", &static_cluster());
    let version = fixture.handle.load().version;
    let cluster = fixture.cluster("c").unwrap();
    fixture.apply(ResourceType::Cluster, "c", &static_cluster());
    assert_eq!(fixture.handle.load().version, version);
    assert!(Arc::ptr_eq(&cluster, &fixture.cluster("c").unwrap()));
}

#[test]
fn the_last_good_version_stays_when_the_next_is_refused_and_neighbours_move_on() {
    let mut fixture = Fixture::new();
    fixture.apply(ResourceType::Cluster, "c", &static_cluster());
    let good = fixture.cluster("c").unwrap();
    let bad = cds::Cluster {
        lb_policy: 77,
        ..static_cluster()
    };
    let other = cds::Cluster {
        name: "d".into(),
        ..static_cluster()
    };
    let received = |proto: &cds::Cluster| Received {
        name: proto.name.as_str().into(),
        version: "2".into(),
        bytes: proto.encode_to_vec().into(),
    };
    let refused = fixture.applier.apply(
        ResourceType::Cluster,
        &[received(&bad), received(&other)],
        &[],
        fixture.now,
    );
    fixture.applier.flush();
    assert_eq!(
        refused,
        [("c".to_owned(), "lb_policy: no such policy: 77".to_owned())]
    );
    assert!(Arc::ptr_eq(&good, &fixture.cluster("c").unwrap()));
    assert!(fixture.cluster("d").is_some());
    let rejections = fixture.status.rejections();
    let rejection = &rejections[&(ResourceType::Cluster, "c".into())];
    assert_eq!(
        (&*rejection.version, &*rejection.reason),
        ("2", "lb_policy: no such policy: 77")
    );

    let better = cds::Cluster {
        alt_stat_name: "x".into(),
        ..static_cluster()
    };
    fixture.apply(ResourceType::Cluster, "c", &better);
    assert!(fixture.status.rejections().is_empty());
    assert_eq!(&*fixture.cluster("c").unwrap().stat_name, "x");
}

#[rstest]
#[case::bytes(b"\xff\xff".to_vec(), "malformed message")]
#[case::name(ClusterLoadAssignment { cluster_name: "c".into(), endpoints: vec![locality(0, 1, vec![lb_endpoint("example.com", 80, 1)])], ..Default::default() }.encode_to_vec(), "endpoints[0].lb_endpoints[0].address: not an IP address: \"example.com\"")]
fn endpoints_that_make_no_sense_are_refused(#[case] bytes: Vec<u8>, #[case] reason: &str) {
    let mut fixture = Fixture::new();
    let resource = Received {
        name: "c".into(),
        version: "1".into(),
        bytes: bytes.into(),
    };
    let refused = fixture
        .applier
        .apply(ResourceType::Endpoint, &[resource], &[], fixture.now);
    assert!(refused[0].1.starts_with(reason), "{refused:?}");
}

#[test]
fn a_removed_cluster_leaves_its_slot_empty() {
    let mut fixture = Fixture::new();
    fixture.apply(ResourceType::Cluster, "a", &eds_cluster("a"));
    fixture.apply(ResourceType::Endpoint, "a", &assignment("a", &[80]));
    fixture.remove(ResourceType::Cluster, "a");
    assert!(fixture.cluster("a").is_none());
    assert_eq!(fixture.applier.wanted(), Wanted::default());
}

#[test]
fn names_are_looked_up_before_a_cluster_comes_into_force() {
    let mut fixture = Fixture::new();
    let dns = cds::Cluster {
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::StrictDns as i32)),
        load_assignment: Some(ClusterLoadAssignment {
            cluster_name: "c".into(),
            endpoints: vec![locality(
                0,
                1,
                vec![
                    lb_endpoint("example.com", 80, 1),
                    lb_endpoint("10.0.0.9", 81, 1),
                ],
            )],
            ..Default::default()
        }),
        ..static_cluster()
    };
    assert_eq!(fixture.apply(ResourceType::Cluster, "c", &dns), None);
    assert!(fixture.cluster("c").is_none());
    let targets = fixture.applier.dns_targets();
    assert_eq!(targets[0].hosts, ["example.com".into()]);

    let addresses: Vec<IpAddr> = vec!["10.1.0.1".parse().unwrap(), "fd00::1".parse().unwrap()];
    let answer = HashMap::from([("example.com".into(), addresses)]);
    fixture.applier.resolved("c", answer, fixture.now);
    fixture.applier.flush();
    assert_eq!(
        fixture.endpoints("c"),
        ["10.1.0.1:80", "[fd00::1]:80", "10.0.0.9:81"]
    );

    let mut other_port = dns.clone();
    let inline = other_port.load_assignment.as_mut().unwrap();
    inline.endpoints[0].lb_endpoints[0] = lb_endpoint("example.com", 90, 1);
    fixture.apply(ResourceType::Cluster, "c", &other_port);
    assert_eq!(
        fixture.endpoints("c")[0],
        "10.1.0.1:90",
        "the name is known already"
    );

    fixture.applier.resolved("c", HashMap::new(), fixture.now);
    fixture.applier.flush();
    assert_eq!(
        fixture.endpoints("c"),
        ["10.0.0.9:81"],
        "a name that is gone has no endpoints"
    );
}

#[test]
fn static_clusters_stay() {
    let mut fixture = Fixture::new();
    let bytes = static_cluster().encode_to_vec().into();
    fixture
        .applier
        .apply_static(ResourceType::Cluster, "c", bytes, fixture.now)
        .unwrap();
    fixture.applier.warm(fixture.now);
    fixture.applier.flush();
    let other = cds::Cluster {
        alt_stat_name: "x".into(),
        ..static_cluster()
    };
    assert_eq!(fixture.apply(ResourceType::Cluster, "c", &other), None);
    fixture.remove(ResourceType::Cluster, "c");
    assert_eq!(&*fixture.cluster("c").unwrap().stat_name, "c");
}

/// Listens without binding, with routes from RDS.
fn rds_listener(routes: &str) -> ListenerProto {
    use xds::envoy::listener::filter::ConfigType;
    use xds::envoy::listener::{Filter, FilterChain};
    use xds::envoy::network::http_connection_manager::http_connection_manager::RouteSpecifier;
    use xds::envoy::network::http_connection_manager::http_filter;
    use xds::envoy::network::http_connection_manager::{HttpConnectionManager, HttpFilter, Rds};
    let router = xds::resource::pack(&xds::envoy::http::router::Router::default());
    let hcm = HttpConnectionManager {
        stat_prefix: "x".into(),
        route_specifier: Some(RouteSpecifier::Rds(Rds {
            config_source: Some(ConfigSource {
                config_source_specifier: Some(ConfigSourceSpecifier::Ads(Default::default())),
                ..Default::default()
            }),
            route_config_name: routes.into(),
        })),
        http_filters: vec![HttpFilter {
            name: "envoy.filters.http.router".into(),
            config_type: Some(http_filter::ConfigType::TypedConfig(router)),
            ..Default::default()
        }],
        ..Default::default()
    };
    ListenerProto {
        address: Some(crate::test_util::address("127.0.0.1", 0)),
        filter_chains: vec![FilterChain {
            filters: vec![Filter {
                name: "envoy.filters.network.http_connection_manager".into(),
                config_type: Some(ConfigType::TypedConfig(xds::resource::pack(&hcm))),
            }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

#[test]
fn the_order_is_clusters_endpoints_listeners_routes() {
    let mut fixture = Fixture::new();
    fixture.apply(ResourceType::Cluster, "a", &eds_cluster("a"));
    fixture.apply(ResourceType::Endpoint, "a", &assignment("a", &[80]));
    let refused = fixture.apply(ResourceType::Listener, "l", &rds_listener("r"));
    assert_eq!(refused, None);
    assert!(fixture.handle.load().listeners.is_empty());
    assert_eq!(fixture.applier.wanted().routes, names(&["r"]));
    let routes = RouteConfiguration {
        name: "r".into(),
        ..Default::default()
    };
    fixture.apply(ResourceType::Route, "r", &routes);
    assert_eq!(
        fixture.handle.load().listeners.keys().collect::<Vec<_>>(),
        [&Arc::from("l")]
    );
    fixture.remove(ResourceType::Listener, "l");
    assert!(fixture.applier.wanted().routes.is_empty());
    assert!(fixture.handle.load().listeners.is_empty());
}
