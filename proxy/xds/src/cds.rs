//! Clusters: `envoy.config.cluster.v3.Cluster` to [`Cluster`].

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use xds::envoy::cluster as proto;
use xds::envoy::core::BindConfig;
use xds::envoy::tls::UpstreamTlsContext;

use super::any::{buffer_limit, duration_or, socket_address, unpack};
use super::context::ApplyContext;
use crate::config::cluster::{
    Cluster, HttpOptions, ServiceName, TcpKeepalive, Transport, TransportMatch, TransportSocket,
};
use crate::config::error::{ConfigError, Within};
use crate::config::metadata::{Metadata, Value};
use crate::metadata::fields;
use crate::tls;

mod balancing;
mod circuit_breakers;
mod discovery;
mod http_options;
mod outlier_detection;

/// Envoy's default `connect_timeout`.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Translates a cluster.
pub fn cluster(
    proto: &proto::Cluster,
    context: &mut ApplyContext<'_>,
) -> Result<Cluster, ConfigError> {
    if proto.name.is_empty() {
        return Err(ConfigError::new("name", "a cluster needs a name"));
    }
    refuse_unsupported(proto)?;
    let http = http_options::http_options(proto, context)?;
    let metadata = crate::metadata::metadata(proto.metadata.as_ref());
    let connection = proto.upstream_connection_options.unwrap_or_default();
    let stat_name = match proto.alt_stat_name.as_str() {
        "" => &proto.name,
        alternative => alternative,
    };
    Ok(Cluster {
        name: proto.name.as_str().into(),
        id: context.names.cluster(&proto.name),
        stat_name: stat_name.into(),
        discovery: discovery::discovery(proto)?,
        connect_timeout: duration_or(
            "connect_timeout",
            proto.connect_timeout.as_ref(),
            CONNECT_TIMEOUT,
        )?,
        buffer_limit_bytes: buffer_limit(proto.per_connection_buffer_limit_bytes.as_ref()),
        balancing: balancing::balancing(proto)?,
        circuit_breakers: circuit_breakers::limits(proto.circuit_breakers.as_ref())
            .within("circuit_breakers")?,
        outlier_detection: proto
            .outlier_detection
            .as_ref()
            .map(outlier_detection::settings)
            .transpose()
            .within("outlier_detection")?,
        transport: transport(proto, &http)?,
        http,
        bind_addresses: proto
            .upstream_bind_config
            .as_ref()
            .map_or(Ok(Vec::new()), bind_addresses)
            .within("upstream_bind_config")?,
        tcp_keepalive: connection.tcp_keepalive.map(|keepalive| TcpKeepalive {
            probes: keepalive.keepalive_probes.map(|probes| probes.value),
            time: seconds(keepalive.keepalive_time),
            interval: seconds(keepalive.keepalive_interval),
        }),
        close_connections_on_host_health_failure: proto.close_connections_on_host_health_failure,
        service: service_name(&metadata),
        metadata,
        source: context.source.clone(),
    })
}

fn refuse_unsupported(proto: &proto::Cluster) -> Result<(), ConfigError> {
    let refused = [
        (
            "health_checks",
            !proto.health_checks.is_empty(),
            "active health checking",
        ),
        (
            "filters",
            !proto.filters.is_empty(),
            "an upstream network filter",
        ),
        (
            "transport_socket_matcher",
            proto.transport_socket_matcher.is_some(),
            "a matcher tree",
        ),
        ("lrs_server", proto.lrs_server.is_some(), "load reporting"),
        (
            "preconnect_policy",
            proto.preconnect_policy.is_some(),
            "connecting ahead",
        ),
        (
            "upstream_config",
            proto.upstream_config.is_some(),
            "an upstream extension",
        ),
        (
            "queuing_policies",
            proto.queuing_policies.is_some(),
            "a queueing policy",
        ),
        (
            "connection_pool_per_downstream_connection",
            proto.connection_pool_per_downstream_connection,
            "a pool for each downstream connection",
        ),
        (
            "per_connection_buffer_high_watermark_timeout",
            proto.per_connection_buffer_high_watermark_timeout.is_some(),
            "a limit of the time above the high watermark",
        ),
    ];
    match refused.into_iter().find(|(_, present, _)| *present) {
        Some((field, _, what)) => Err(ConfigError::unsupported(field, what)),
        None => Ok(()),
    }
}

fn transport(proto: &proto::Cluster, http: &HttpOptions) -> Result<Transport, ConfigError> {
    let verify_sni = http_options::auto_san_validation(proto)?;
    debug_assert!(!verify_sni || http.auto_sni);
    let socket = |socket: Option<&_>| transport_socket(socket, verify_sni);
    let matches = proto
        .transport_socket_matches
        .iter()
        .enumerate()
        .map(|(n, entry)| {
            let socket = socket(entry.transport_socket.as_ref());
            Ok(TransportMatch {
                criteria: entry.r#match.as_ref().map(fields).unwrap_or_default(),
                socket: socket
                    .within("transport_socket")
                    .within(format_args!("transport_socket_matches[{n}]"))?,
            })
        });
    Ok(Transport {
        matches: matches.collect::<Result<_, ConfigError>>()?,
        default: socket(proto.transport_socket.as_ref()).within("transport_socket")?,
    })
}

fn transport_socket(
    proto: Option<&xds::envoy::core::TransportSocket>,
    verify_sni: bool,
) -> Result<TransportSocket, ConfigError> {
    use xds::envoy::core::transport_socket::ConfigType;
    let Some(proto) = proto else {
        return Ok(TransportSocket::Raw);
    };
    let Some(ConfigType::TypedConfig(any)) = &proto.config_type else {
        return match proto.name.as_str() {
            "envoy.transport_sockets.raw_buffer" => Ok(TransportSocket::Raw),
            name => Err(ConfigError::new(
                "typed_config",
                format!("\"{name}\" without configuration"),
            )),
        };
    };
    let kind = any.type_url.rsplit('/').next().unwrap_or_default();
    match kind {
        "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer" => Ok(TransportSocket::Raw),
        "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext" => {
            let mut tls: UpstreamTlsContext = unpack(any).within("typed_config")?;
            tls.auto_sni_san_validation |= verify_sni;
            let tls = tls::client(&tls).within("typed_config")?;
            Ok(TransportSocket::Tls(Arc::new(tls)))
        }
        other => Err(ConfigError::unsupported(
            "typed_config",
            format_args!("\"{other}\""),
        )),
    }
}

fn bind_addresses(proto: &BindConfig) -> Result<Vec<SocketAddr>, ConfigError> {
    if !proto.socket_options.is_empty() {
        return Err(ConfigError::unsupported(
            "socket_options",
            "a socket option",
        ));
    }
    if proto.freebind.is_some_and(|freebind| freebind.value) {
        return Err(ConfigError::unsupported(
            "freebind",
            "binding to an address that is not here",
        ));
    }
    if proto.local_address_selector.is_some() {
        return Err(ConfigError::unsupported(
            "local_address_selector",
            "a selector",
        ));
    }
    let extra = proto.extra_source_addresses.iter();
    let socket_options = extra.clone().any(|e| e.socket_options.is_some());
    if socket_options {
        return Err(ConfigError::unsupported(
            "extra_source_addresses",
            "a socket option",
        ));
    }
    let addresses = proto
        .source_address
        .iter()
        .chain(extra.filter_map(|extra| extra.address.as_ref()));
    addresses
        .map(|address| {
            use xds::envoy::core::address::Address as Kind;
            let address = Some(Kind::SocketAddress(address.clone()));
            socket_address(Some(&xds::envoy::core::Address { address })).within("source_address")
        })
        .collect()
}

fn seconds(proto: Option<xds::pb::google::protobuf::UInt32Value>) -> Option<Duration> {
    proto.map(|seconds| Duration::from_secs(seconds.value.into()))
}

fn service_name(metadata: &Metadata) -> Option<ServiceName> {
    let Some(Value::List(services)) = metadata.path("istio", ["services"]) else {
        return None;
    };
    let Some(Value::Struct(service)) = services.first() else {
        return None;
    };
    let field = |key| service.string(key).unwrap_or("unknown").into();
    Some(ServiceName {
        host: field("host"),
        name: field("name"),
        namespace: field("namespace"),
    })
}

#[cfg(test)]
mod tests;
