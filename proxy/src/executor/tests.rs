//! The applier with the real executor.

use proxy_xds::apply::{Applier, Received, Translators};
use proxy_xds::status::XdsStatus;
use proxy_xds::test_util::{IntoValue, lb_endpoint, locality, static_cluster};
use proxy_xds::{lds, rds};
use xds::envoy::cluster as cds;
use xds::envoy::endpoint::ClusterLoadAssignment;
use xds::envoy::listener as wire;
use xds::prost::Message;
use xds::type_url::ResourceType;

use super::*;
use crate::config::cluster::RoutingPriority;
use crate::listener::socket::Sockets;
use crate::telemetry::log_sink::LogSinks;
use crate::tls::secret_store::SecretStore;
use crate::upstream::circuit_breaker::Resource;

mod outlier_detection;

struct Fixture {
    applier: Applier<Executor>,
    in_force: InForce,
    now: Instant,
}

impl Fixture {
    fn new() -> Self {
        let in_force = InForce::default();
        let builder = Builder {
            secrets: SecretStore::new(),
            sockets: Sockets::new(1),
            logs: LogSinks::new(),
        };
        let translators = Translators {
            listener: lds::listener,
            route: rds::route_config,
        };
        let applier = Applier::new(
            Executor::new(in_force.clone(), builder),
            Arc::default(),
            translators,
            Arc::new(XdsStatus::default()),
        );
        Self {
            applier,
            in_force,
            now: Instant::now(),
        }
    }

    /// Applies one resource; the reason if it was refused.
    fn apply<M: Message>(&mut self, kind: ResourceType, name: &str, proto: &M) -> Option<String> {
        let resource = Received {
            name: name.into(),
            version: "1".into(),
            bytes: proto.encode_to_vec().into(),
        };
        let refused = self.applier.apply(kind, &[resource], &[], self.now);
        self.applier.flush();
        refused.into_iter().next().map(|(_, reason)| reason)
    }

    fn cluster(&mut self, name: &str) -> Option<Arc<SharedCluster>> {
        let id = self.applier.names().cluster(name);
        self.in_force.runtime.load().cluster(id).cloned()
    }

    fn listener(&self, name: &str) -> Option<Arc<SharedListener>> {
        self.in_force.listeners.load().get(name).cloned()
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

#[test]
fn an_update_of_a_cluster_keeps_what_is_counted() {
    let mut fixture = Fixture::new();
    fixture.apply(ResourceType::Cluster, "c", &static_cluster());
    let before = fixture.cluster("c").unwrap();
    let priority = RoutingPriority::Default;
    let resource = Resource::Requests;
    let _running = before.circuit_breakers.acquire(resource, priority).unwrap();
    let changed = cds::Cluster {
        alt_stat_name: "x".into(),
        ..static_cluster()
    };
    fixture.apply(ResourceType::Cluster, "c", &changed);
    let after = fixture.cluster("c").unwrap();
    assert_eq!(
        after.circuit_breakers.usage(resource, priority),
        Some((1, 1024))
    );
}

/// A listener with these filter chains, by port and cluster.
fn listener(chains: &[(u32, &str)]) -> wire::Listener {
    let chain = |(port, cluster): &(u32, &str)| {
        let proxy = xds::envoy::network::tcp_proxy::TcpProxy {
            stat_prefix: "t".into(),
            cluster_specifier: Some(
                xds::envoy::network::tcp_proxy::tcp_proxy::ClusterSpecifier::Cluster(
                    (*cluster).into(),
                ),
            ),
            ..Default::default()
        };
        wire::FilterChain {
            filter_chain_match: Some(wire::FilterChainMatch {
                destination_port: Some(port.into_value()),
                ..Default::default()
            }),
            filters: vec![wire::Filter {
                name: "tcp".into(),
                config_type: Some(wire::filter::ConfigType::TypedConfig(xds::resource::pack(
                    &proxy,
                ))),
            }],
            ..Default::default()
        }
    };
    wire::Listener {
        address: Some(proxy_xds::test_util::address("127.0.0.1", 0)),
        filter_chains: chains.iter().map(chain).collect(),
        ..Default::default()
    }
}

#[test]
fn an_update_of_a_listener_keeps_the_chains_that_did_not_change() {
    let mut fixture = Fixture::new();
    let first = listener(&[(80, "one"), (81, "one")]);
    assert_eq!(fixture.apply(ResourceType::Listener, "l", &first), None);
    let before = fixture.listener("l").unwrap();
    let second = listener(&[(80, "one"), (81, "two")]);
    assert_eq!(fixture.apply(ResourceType::Listener, "l", &second), None);
    let after = fixture.listener("l").unwrap();
    let same = |n: usize| Arc::ptr_eq(&before.filter_chains[n], &after.filter_chains[n]);
    assert_eq!([same(0), same(1)], [true, false]);
}

#[test]
fn an_address_that_cannot_be_bound_refuses_the_listener() {
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port();
    let mut fixture = Fixture::new();
    let proto = wire::Listener {
        address: Some(proxy_xds::test_util::address("127.0.0.1", port)),
        ..listener(&[(80, "one")])
    };
    let reason = fixture.apply(ResourceType::Listener, "l", &proto).unwrap();
    let expected = format!("address: cannot bind '127.0.0.1:{port}': ");
    assert!(reason.starts_with(&expected), "{reason}");
    assert!(fixture.listener("l").is_none());
}

#[test]
fn what_leaves_the_configuration_is_freed() {
    let mut fixture = Fixture::new();
    fixture.apply(ResourceType::Cluster, "c", &static_cluster());
    fixture.apply(ResourceType::Listener, "l", &listener(&[(80, "c")]));
    let cluster = Arc::downgrade(&fixture.cluster("c").unwrap());
    let bound = Arc::downgrade(&fixture.listener("l").unwrap());
    assert!(cluster.upgrade().is_some() && bound.upgrade().is_some());
    for (kind, name) in [(ResourceType::Listener, "l"), (ResourceType::Cluster, "c")] {
        let removed = [name.to_owned()];
        fixture.applier.apply(kind, &[], &removed, fixture.now);
    }
    fixture.applier.flush();
    assert!(cluster.upgrade().is_none() && bound.upgrade().is_none());
}

#[test]
fn a_cluster_waits_for_the_secrets_of_its_tls_context() {
    use xds::envoy::core::transport_socket::ConfigType;
    use xds::envoy::tls::common_tls_context::ValidationContextType;
    use xds::envoy::tls::{
        CertificateValidationContext, CommonTlsContext, SdsSecretConfig, Secret,
        UpstreamTlsContext, secret,
    };
    let roots = SdsSecretConfig {
        name: "roots".into(),
        sds_config: None,
    };
    let context = UpstreamTlsContext {
        common_tls_context: Some(CommonTlsContext {
            validation_context_type: Some(ValidationContextType::ValidationContextSdsSecretConfig(
                roots,
            )),
            ..Default::default()
        }),
        ..Default::default()
    };
    let secured = cds::Cluster {
        transport_socket: Some(xds::envoy::core::TransportSocket {
            name: "tls".into(),
            config_type: Some(ConfigType::TypedConfig(xds::resource::pack(&context))),
        }),
        ..static_cluster()
    };
    let mut fixture = Fixture::new();
    assert_eq!(fixture.apply(ResourceType::Cluster, "c", &secured), None);
    assert!(fixture.cluster("c").is_none());
    assert_eq!(fixture.applier.wanted().secrets, ["roots".into()].into());
    let secret = Secret {
        name: "roots".into(),
        r#type: Some(secret::Type::ValidationContext(
            CertificateValidationContext::default(),
        )),
    };
    assert_eq!(fixture.apply(ResourceType::Secret, "roots", &secret), None);
    assert!(fixture.cluster("c").is_some());
    let removed = ["c".to_owned()];
    let cluster = ResourceType::Cluster;
    fixture.applier.apply(cluster, &[], &removed, fixture.now);
    fixture.applier.flush();
    assert!(fixture.applier.wanted().secrets.is_empty());
}
