//! Short paths to the Envoy messages that the mesh uses, grouped as the field speaks of them.

/// Common building blocks: addresses, metadata, data sources, header values.
pub use envoy_types::pb::envoy::config::core::v3 as core;

/// Clusters and their parts.
pub use envoy_types::pb::envoy::config::cluster::v3 as cluster;

/// Load assignments.
pub use envoy_types::pb::envoy::config::endpoint::v3 as endpoint;

/// Listeners, filter chains and their matches.
pub use envoy_types::pb::envoy::config::listener::v3 as listener;

/// Route configurations, virtual hosts and routes.
pub use envoy_types::pb::envoy::config::route::v3 as route;

/// RBAC policies.
pub use envoy_types::pb::envoy::config::rbac::v3 as rbac;

/// Access logs and their filters.
pub use envoy_types::pb::envoy::config::accesslog::v3 as accesslog;

/// Tracing configuration.
pub use envoy_types::pb::envoy::config::trace::v3 as trace;

/// Bootstrap.
pub use envoy_types::pb::envoy::config::bootstrap::v3 as bootstrap;

/// Discovery requests and service messages.
pub use envoy_types::pb::envoy::service::discovery::v3 as discovery;

/// TLS contexts and secrets.
pub use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3 as tls;

/// The raw (plaintext) transport socket.
pub use envoy_types::pb::envoy::extensions::transport_sockets::raw_buffer::v3 as raw_buffer;

/// Upstream HTTP protocol options.
pub use envoy_types::pb::envoy::extensions::upstreams::http::v3 as upstream_http;

/// Fractions, ranges and other small types.
pub use envoy_types::pb::envoy::r#type::v3 as types;

/// Matchers of strings, paths, metadata and values.
pub use envoy_types::pb::envoy::r#type::matcher::v3 as matcher;

/// Network filters.
pub mod network {
    pub use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as http_connection_manager;
    pub use envoy_types::pb::envoy::extensions::filters::network::rbac::v3 as rbac;
    pub use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3 as tcp_proxy;
}

/// HTTP filters.
pub mod http {
    pub use envoy_types::pb::envoy::extensions::filters::common::fault::v3 as common_fault;
    pub use envoy_types::pb::envoy::extensions::filters::http::cors::v3 as cors;
    pub use envoy_types::pb::envoy::extensions::filters::http::fault::v3 as fault;
    pub use envoy_types::pb::envoy::extensions::filters::http::grpc_stats::v3 as grpc_stats;
    pub use envoy_types::pb::envoy::extensions::filters::http::health_check::v3 as health_check;
    pub use envoy_types::pb::envoy::extensions::filters::http::jwt_authn::v3 as jwt_authn;
    pub use envoy_types::pb::envoy::extensions::filters::http::rbac::v3 as rbac;
    pub use envoy_types::pb::envoy::extensions::filters::http::router::v3 as router;
}

/// Listener filters.
pub mod listener_filter {
    pub use envoy_types::pb::envoy::extensions::filters::listener::http_inspector::v3 as http_inspector;
    pub use envoy_types::pb::envoy::extensions::filters::listener::original_dst::v3 as original_dst;
    pub use envoy_types::pb::envoy::extensions::filters::listener::proxy_protocol::v3 as proxy_protocol;
    pub use envoy_types::pb::envoy::extensions::filters::listener::tls_inspector::v3 as tls_inspector;
}

/// Access loggers.
pub mod access_logger {
    pub use envoy_types::pb::envoy::extensions::access_loggers::file::v3 as file;
    pub use envoy_types::pb::envoy::extensions::access_loggers::stream::v3 as stream;
}
