//! Limits and timers of upstream connections, and the protocol spoken on them.

use std::time::Duration;

use mesh_api::mesh_config::MeshConfig;
use mesh_api::port::Protocol;
use mesh_api::traffic_policy::PortPolicy;
use mesh_api::traffic_policy::connection_pool::{ConnectionPool, H2Upgrade, TcpKeepalive};
use xds::envoy::cluster::{self, CircuitBreakers, Cluster};
use xds::envoy::{core, upstream_http};
use xds::prost::Name;
use xds::resource::pack;

use super::{Inputs, unlimited};
use crate::wire;

use upstream_http::http_protocol_options::{
    ExplicitHttpConfig, UpstreamProtocolOptions, UseDownstreamHttpConfig,
    explicit_http_config::ProtocolConfig,
};

/// The key of the options, which is the extension's name.
const HTTP_PROTOCOL_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// What is spoken to a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UpstreamProtocol {
    /// Bytes.
    Tcp,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
    /// Whatever the client speaks.
    Client,
}

/// Applies a policy's pool to an outbound cluster.
pub(super) fn apply(cluster: &mut Cluster, inputs: &Inputs, policy: &PortPolicy) {
    let pool = policy.connection_pool.clone().unwrap_or_default();
    let protocol = inputs
        .service_port()
        .map_or(Protocol::Tcp, |port| port.protocol);
    let retry_budget = inputs
        .rule
        .as_ref()
        .and_then(|rule| rule.effective(inputs.subset.as_deref()).retry_budget)
        .map(
            |budget| cluster::circuit_breakers::thresholds::RetryBudget {
                budget_percent: Some(wire::percent(budget.percent)),
                min_retry_concurrency: Some(wire::number(budget.min_retry_concurrency)),
                ..Default::default()
            },
        );
    apply_pool(cluster, &pool, &inputs.mesh);
    cluster
        .circuit_breakers
        .iter_mut()
        .flat_map(|breakers| &mut breakers.thresholds)
        .for_each(|thresholds| thresholds.retry_budget = retry_budget);
    set_protocol(
        cluster,
        upstream_protocol(protocol, &pool, &inputs.mesh),
        &pool,
    );
}

/// Applies limits and timers.
pub(super) fn apply_pool(cluster: &mut Cluster, pool: &ConnectionPool, mesh: &MeshConfig) {
    let mut thresholds = unlimited();
    let limit =
        |value: Option<u32>, default| value.filter(|v| *v > 0).map(wire::number).or(default);
    thresholds.max_connections = limit(pool.max_connections, thresholds.max_connections);
    thresholds.max_pending_requests = limit(
        pool.http1_max_pending_requests,
        thresholds.max_pending_requests,
    );
    thresholds.max_requests = limit(pool.http2_max_requests, thresholds.max_requests);
    thresholds.max_retries = limit(pool.max_retries, thresholds.max_retries);
    cluster.circuit_breakers = Some(CircuitBreakers {
        thresholds: vec![thresholds],
        ..Default::default()
    });
    cluster.connect_timeout = Some(wire::duration(
        pool.connect_timeout.unwrap_or(mesh.connect_timeout),
    ));
    cluster.upstream_connection_options =
        pool.tcp_keepalive.or(mesh.tcp_keepalive).map(|keepalive| {
            cluster::UpstreamConnectionOptions {
                tcp_keepalive: Some(tcp_keepalive(keepalive)),
                ..Default::default()
            }
        });
}

/// Sets what is spoken, with the timers of HTTP connections.
pub(super) fn set_protocol(
    cluster: &mut Cluster,
    protocol: UpstreamProtocol,
    pool: &ConnectionPool,
) {
    let common = common_options(pool);
    if protocol == UpstreamProtocol::Tcp && common.is_none() {
        return;
    }
    let http2 = http2_options(pool);
    let explicit = |config| {
        UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig {
            protocol_config: Some(config),
        })
    };
    let options = upstream_http::HttpProtocolOptions {
        common_http_protocol_options: common,
        upstream_protocol_options: Some(match protocol {
            UpstreamProtocol::Tcp | UpstreamProtocol::Http1 => {
                explicit(ProtocolConfig::HttpProtocolOptions(http1_options()))
            }
            UpstreamProtocol::Http2 => explicit(ProtocolConfig::Http2ProtocolOptions(http2)),
            UpstreamProtocol::Client => {
                UpstreamProtocolOptions::UseDownstreamProtocolConfig(UseDownstreamHttpConfig {
                    http_protocol_options: Some(http1_options()),
                    http2_protocol_options: Some(http2),
                    ..Default::default()
                })
            }
        }),
        ..Default::default()
    };
    debug_assert_eq!(
        upstream_http::HttpProtocolOptions::full_name(),
        HTTP_PROTOCOL_OPTIONS
    );
    cluster
        .typed_extension_protocol_options
        .insert(HTTP_PROTOCOL_OPTIONS.to_owned(), pack(&options));
}

fn upstream_protocol(
    protocol: Protocol,
    pool: &ConnectionPool,
    mesh: &MeshConfig,
) -> UpstreamProtocol {
    if pool.use_client_protocol {
        return UpstreamProtocol::Client;
    }
    let upgrade = match pool.h2_upgrade {
        H2Upgrade::Upgrade => true,
        H2Upgrade::DoNotUpgrade => false,
        // Upgrading what is not known to be HTTP would surprise servers.
        H2Upgrade::Default => mesh.h2_upgrade && protocol.is_http(),
    };
    if protocol.is_http2() || protocol == Protocol::GrpcWeb || upgrade {
        UpstreamProtocol::Http2
    } else if protocol.is_auto() {
        UpstreamProtocol::Client
    } else if protocol.is_http() {
        UpstreamProtocol::Http1
    } else {
        UpstreamProtocol::Tcp
    }
}

/// Differs from Istio, which leaves trailers out.
fn http1_options() -> core::Http1ProtocolOptions {
    core::Http1ProtocolOptions {
        enable_trailers: true,
        ..Default::default()
    }
}

fn common_options(pool: &ConnectionPool) -> Option<core::HttpProtocolOptions> {
    let idle_timeout = pool.http_idle_timeout.or(pool.tcp_idle_timeout);
    let max_requests = pool.max_requests_per_connection.filter(|max| *max > 0);
    if idle_timeout.is_none() && max_requests.is_none() && pool.max_connection_duration.is_none() {
        return None;
    }
    Some(core::HttpProtocolOptions {
        idle_timeout: idle_timeout.map(wire::duration),
        max_requests_per_connection: max_requests.map(wire::number),
        max_connection_duration: pool.max_connection_duration.map(wire::duration),
        ..Default::default()
    })
}

fn http2_options(pool: &ConnectionPool) -> core::Http2ProtocolOptions {
    core::Http2ProtocolOptions {
        max_concurrent_streams: pool
            .max_concurrent_streams
            .filter(|max| *max > 0)
            .map(wire::number),
        connection_keepalive: pool.http2_keepalive.map(|(interval, timeout)| {
            core::KeepaliveSettings {
                interval: Some(wire::duration(interval)),
                timeout: Some(wire::duration(timeout)),
                ..Default::default()
            }
        }),
        ..Default::default()
    }
}

fn tcp_keepalive(keepalive: TcpKeepalive) -> core::TcpKeepalive {
    let seconds =
        |duration: Duration| wire::number(u32::try_from(duration.as_secs()).unwrap_or(u32::MAX));
    core::TcpKeepalive {
        keepalive_probes: keepalive.probes.map(wire::number),
        keepalive_time: keepalive.time.map(seconds),
        keepalive_interval: keepalive.interval.map(seconds),
    }
}
