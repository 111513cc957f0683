//! The HTTP filters of a chain, in Istio's order: peer metadata, authentication, authorization,
//! gRPC statistics, fault, CORS, metrics, router.

use serde_json::{Value, json};
use xds::envoy::http;
use xds::envoy::network::http_connection_manager::{HttpFilter, http_filter::ConfigType};
use xds::proto::xds_type_v3::TypedStruct;
use xds::resource::pack;
use xds::structs;

use super::http_connection_manager::{Position, http_filter};

/// What a chain's filters depend on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Options {
    /// Where the chain stands.
    pub(crate) position: Position,
    /// Whether the proxy is ours and has the mesh's own filters.
    pub(crate) weft: bool,
    /// Authentication and authorization, in order.
    pub(crate) policy: Vec<HttpFilter>,
}

impl Options {
    /// The filters, the router last.
    pub(crate) fn build(self) -> Vec<HttpFilter> {
        let mut filters = Vec::new();
        if self.weft {
            filters.push(peer_metadata(self.position));
        }
        filters.extend(self.policy);
        filters.push(grpc_stats());
        filters.push(http_filter(
            "envoy.filters.http.fault",
            &http::fault::HttpFault::default(),
        ));
        filters.push(http_filter(
            "envoy.filters.http.cors",
            &http::cors::Cors::default(),
        ));
        if self.weft {
            filters.push(stats(self.position));
        }
        filters.push(http_filter(
            "envoy.filters.http.router",
            &http::router::Router::default(),
        ));
        filters
    }
}

fn grpc_stats() -> HttpFilter {
    use http::grpc_stats::{FilterConfig, filter_config::PerMethodStatSpecifier};
    let config = FilterConfig {
        emit_filter_state: true,
        per_method_stat_specifier: Some(PerMethodStatSpecifier::StatsForAllMethods(
            xds::pb::google::protobuf::BoolValue { value: false },
        )),
        ..Default::default()
    };
    http_filter("envoy.filters.http.grpc_stats", &config)
}

/// Who is at the other end: learned from its headers, told in ours.
fn peer_metadata(position: Position) -> HttpFilter {
    let headers = || json!([{ "istio_headers": {} }]);
    let config = match position {
        Position::SidecarInbound => json!({
            "downstream_discovery": headers(),
            "downstream_propagation": headers(),
        }),
        Position::SidecarOutbound | Position::Gateway => json!({
            "upstream_discovery": headers(),
            "upstream_propagation": headers(),
        }),
    };
    typed_struct(
        "envoy.filters.http.peer_metadata",
        "type.googleapis.com/io.istio.http.peer_metadata.Config",
        config,
    )
}

/// The standard metrics.
fn stats(position: Position) -> HttpFilter {
    let config = match position {
        Position::Gateway => json!({ "disable_host_header_fallback": true }),
        _ => json!({}),
    };
    typed_struct(
        "istio.stats",
        "type.googleapis.com/stats.PluginConfig",
        config,
    )
}

/// A filter whose message is not among Envoy's.
fn typed_struct(name: &str, type_url: &str, config: Value) -> HttpFilter {
    let Value::Object(fields) = config else {
        unreachable!("configurations are objects")
    };
    let config = TypedStruct {
        type_url: type_url.to_owned(),
        value: Some(structs::from_json(&fields)),
    };
    HttpFilter {
        name: name.to_owned(),
        config_type: Some(ConfigType::TypedConfig(pack(&config))),
        ..Default::default()
    }
}
