use rstest::rstest;
use xds::envoy::cluster::circuit_breakers::Thresholds;
use xds::envoy::cluster::cluster::{
    ClusterDiscoveryType, DiscoveryType, LbConfig, LbPolicy as Policy, MaglevLbConfig,
    TransportSocketMatch,
};
use xds::envoy::cluster::{CircuitBreakers, Cluster as Proto};
use xds::envoy::core;
use xds::envoy::upstream_http::HttpProtocolOptions;
use xds::envoy::upstream_http::http_protocol_options::explicit_http_config::ProtocolConfig;
use xds::envoy::upstream_http::http_protocol_options::{
    AutoHttpConfig, ExplicitHttpConfig, UpstreamProtocolOptions, UseDownstreamHttpConfig,
};
use xds::pb::google::protobuf as wire;

use super::*;
use crate::config::cluster::circuit_breaker::Limits;
use crate::config::cluster::{LbPolicy, UpstreamProtocol};
use crate::test_util::{IntoValue, address, static_cluster, translate};

fn error(change: impl FnOnce(&mut Proto)) -> String {
    let mut proto = static_cluster();
    change(&mut proto);
    translate(&proto)
        .expect_err("it cannot be executed")
        .to_string()
}

fn cluster(change: impl FnOnce(&mut Proto)) -> Cluster {
    let mut proto = static_cluster();
    change(&mut proto);
    translate(&proto).expect("it can be executed")
}

#[test]
fn defaults_are_envoys() {
    let cluster = cluster(|_| {});
    assert_eq!(cluster.connect_timeout, Duration::from_secs(5));
    assert_eq!(cluster.balancing.policy, LbPolicy::RoundRobin);
    assert_eq!(cluster.balancing.panic_threshold, 50);
    assert_eq!(cluster.circuit_breakers.default, Limits::default());
    assert_eq!(cluster.http.protocol, UpstreamProtocol::Http1);
    assert_eq!(cluster.http.idle_timeout, Some(Duration::from_secs(3600)));
    assert!(matches!(cluster.transport.default, TransportSocket::Raw));
    assert!(cluster.outlier_detection.is_none());
}

#[allow(deprecated, reason = "control planes still send the field")]
fn with_stream_duration(cluster: &mut Proto) {
    cluster.common_http_protocol_options = Some(core::HttpProtocolOptions {
        max_stream_duration: Some(wire::Duration {
            seconds: 1,
            nanos: 0,
        }),
        ..Default::default()
    });
}

#[test]
fn a_buffer_limit_of_zero_is_none() {
    let limit = |bytes: Option<u32>| {
        cluster(|c| c.per_connection_buffer_limit_bytes = bytes.map(IntoValue::into_value))
            .buffer_limit_bytes
    };
    assert_eq!([None, Some(7), Some(0)].map(limit), [1 << 20, 7, u32::MAX]);
}

#[rstest]
#[case::name(|c: &mut Proto| c.name.clear(), "name: a cluster needs a name")]
#[case::health_checks(|c: &mut Proto| c.health_checks.push(Default::default()),
    "health_checks: active health checking is not supported")]
#[case::stream_duration(
    with_stream_duration,
    "common_http_protocol_options.max_stream_duration: a limit of the upstream stream alone is not supported"
)]
#[case::ejection_time(|c: &mut Proto| c.outlier_detection = Some(xds::envoy::cluster::OutlierDetection {
        max_ejection_time: Some(wire::Duration { seconds: 29, nanos: 0 }),
        ..Default::default()
    }), "outlier_detection.max_ejection_time: must not be less than base_ejection_time")]
#[case::policy(|c: &mut Proto| c.lb_policy = Policy::ClusterProvided as i32,
    "lb_policy: CLUSTER_PROVIDED is for ORIGINAL_DST clusters")]
#[case::maglev(|c: &mut Proto| {
        c.lb_policy = Policy::Maglev as i32;
        let table_size = Some(wire::UInt64Value { value: 100 });
        c.lb_config = Some(LbConfig::MaglevLbConfig(MaglevLbConfig { table_size }));
    }, "maglev_lb_config.table_size: must be a prime of at most 5000011: 100")]
#[case::timeout(|c: &mut Proto| c.connect_timeout = Some(wire::Duration { seconds: -1, nanos: 0 }),
    "connect_timeout: not a duration: -1s 0ns")]
#[case::eds(|c: &mut Proto| {
        let eds = DiscoveryType::Eds as i32;
        c.cluster_discovery_type = Some(ClusterDiscoveryType::Type(eds));
    }, "eds_cluster_config: an EDS cluster needs it")]
#[case::original_dst(|c: &mut Proto| {
        let original = DiscoveryType::OriginalDst as i32;
        c.cluster_discovery_type = Some(ClusterDiscoveryType::Type(original));
    }, "lb_policy: an ORIGINAL_DST cluster has CLUSTER_PROVIDED")]
#[case::socket(|c: &mut Proto| {
        let any = wire::Any { type_url: "type.googleapis.com/x.Y".into(), value: Vec::new() };
        c.transport_socket_matches.push(TransportSocketMatch {
            transport_socket: Some(core::TransportSocket {
                config_type: Some(core::transport_socket::ConfigType::TypedConfig(any)),
                ..Default::default()
            }),
            ..Default::default()
        });
    }, "transport_socket_matches[0].transport_socket.typed_config: \"x.Y\" is not supported")]
fn faults_are_named_with_their_field(#[case] change: fn(&mut Proto), #[case] expected: &str) {
    assert_eq!(error(change), expected);
}

fn http_options(options: UpstreamProtocolOptions) -> Cluster {
    cluster(|c| {
        let options = HttpProtocolOptions {
            upstream_protocol_options: Some(options),
            ..Default::default()
        };
        c.typed_extension_protocol_options = [(
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions".to_owned(),
            xds::resource::pack(&options),
        )]
        .into();
    })
}

#[test]
fn protocols_are_chosen_as_the_options_say() {
    let http2 = ProtocolConfig::Http2ProtocolOptions(core::Http2ProtocolOptions {
        max_concurrent_streams: Some(7.into_value()),
        ..Default::default()
    });
    let explicit = http_options(UpstreamProtocolOptions::ExplicitHttpConfig(
        ExplicitHttpConfig {
            protocol_config: Some(http2),
        },
    ));
    assert_eq!(explicit.http.protocol, UpstreamProtocol::Http2);
    assert_eq!(explicit.http.http2.max_concurrent_streams, 7);
    let downstream = http_options(UpstreamProtocolOptions::UseDownstreamProtocolConfig(
        UseDownstreamHttpConfig::default(),
    ));
    assert_eq!(downstream.http.protocol, UpstreamProtocol::Downstream);
    let auto = http_options(UpstreamProtocolOptions::AutoConfig(
        AutoHttpConfig::default(),
    ));
    assert_eq!(auto.http.protocol, UpstreamProtocol::Auto);
}

#[test]
fn istios_largest_number_is_no_limit() {
    let cluster = cluster(|c| {
        c.circuit_breakers = Some(CircuitBreakers {
            thresholds: vec![Thresholds {
                max_connections: Some(u32::MAX.into_value()),
                max_requests: Some(10.into_value()),
                ..Default::default()
            }],
            ..Default::default()
        });
    });
    let expected = Limits {
        connections: None,
        requests: Some(10),
        ..Limits::default()
    };
    assert_eq!(cluster.circuit_breakers.default, expected);
    assert_eq!(cluster.circuit_breakers.high, Limits::default());
}

#[test]
fn inbound_clusters_connect_from_their_own_address() {
    let cluster = cluster(|c| {
        let source = |host: &str| match address(host, 0).address {
            Some(core::address::Address::SocketAddress(address)) => address,
            _ => unreachable!("it is a socket address"),
        };
        c.upstream_bind_config = Some(core::BindConfig {
            source_address: Some(source("127.0.0.6")),
            extra_source_addresses: vec![core::ExtraSourceAddress {
                address: Some(source("::6")),
                ..Default::default()
            }],
            ..Default::default()
        });
    });
    let bind = |remote: &str| cluster.bind_address_for(remote.parse().unwrap());
    assert_eq!(bind("10.0.0.1"), Some("127.0.0.6:0".parse().unwrap()));
    assert_eq!(bind("fd00::1"), Some("[::6]:0".parse().unwrap()));
}

#[test]
fn the_service_is_named_by_istios_metadata() {
    let string = |text: &str| wire::Value {
        kind: Some(wire::value::Kind::StringValue(text.into())),
    };
    let service = wire::Struct {
        fields: [
            (
                "host".to_owned(),
                string("reviews.default.svc.cluster.local"),
            ),
            ("name".to_owned(), string("reviews")),
            ("namespace".to_owned(), string("default")),
        ]
        .into(),
    };
    let service = wire::Value {
        kind: Some(wire::value::Kind::StructValue(service)),
    };
    let list = wire::value::Kind::ListValue(wire::ListValue {
        values: vec![service],
    });
    let istio = wire::Struct {
        fields: [("services".to_owned(), wire::Value { kind: Some(list) })].into(),
    };
    let cluster = cluster(|c| {
        let filter_metadata = [("istio".to_owned(), istio)].into();
        c.metadata = Some(core::Metadata {
            filter_metadata,
            ..Default::default()
        });
    });
    assert_eq!(
        cluster.service,
        Some(ServiceName {
            host: "reviews.default.svc.cluster.local".into(),
            name: "reviews".into(),
            namespace: "default".into(),
        })
    );
}
