//! `connectionPool`: limits and timers of connections.

use mesh_api::traffic_policy::connection_pool::{ConnectionPool, H2Upgrade, TcpKeepalive};

use crate::decode::jsonpb::{GoDuration, wire_enum};
use crate::kinds::findings::Findings;
use crate::kinds::rules;
use crate::kinds::wire::wire;
use crate::manifest::path::FieldPath;

wire! {
    WirePool {
        /// Settings of connections.
        tcp: Option<TcpSettings>,
        /// Settings of HTTP requests.
        http: Option<HttpSettings>,
    }

    TcpSettings {
        /// Maximum number of connections to the service. 0 (default) is no limit.
        max_connections: i32,
        /// Timeout for connecting, at least 1ms. By default meshConfig.connectTimeout, 10s.
        connect_timeout: Option<GoDuration>,
        /// TCP keepalive of connections. By default meshConfig.tcpKeepalive.
        tcp_keepalive: Option<WireKeepalive>,
        /// Age at which a connection is closed, at least 1ms. By default there is no limit.
        max_connection_duration: Option<GoDuration>,
        /// Time without traffic after which a TCP connection is closed, at least 1ms; 0s is never. Also for HTTP
        /// where http.idleTimeout is not set. 1h by default.
        idle_timeout: Option<GoDuration>,
    }

    WireKeepalive {
        /// Probes without response after which the connection is closed. By default that of the system (9 on Linux).
        probes: u32,
        /// Time without traffic until the first probe, at least 1ms. By default that of the system (2h on Linux).
        time: Option<GoDuration>,
        /// Time between probes, at least 1ms. By default that of the system (75s on Linux).
        interval: Option<GoDuration>,
    }

    HttpSettings {
        /// Maximum number of requests that wait for a connection. 0 (default) is no limit.
        http1_max_pending_requests: i32,
        /// Maximum number of active requests, over HTTP/1.1 too. 0 (default) is no limit.
        http2_max_requests: i32,
        /// Requests after which a connection is closed; 1 disables keep-alive. 0 (default) is no limit.
        max_requests_per_connection: i32,
        /// Maximum number of concurrent retries. 0 (default) is no limit.
        max_retries: i32,
        /// Time without active requests after which a connection is closed, at least 1ms; 0s is never. 1h by
        /// default.
        idle_timeout: Option<GoDuration>,
        /// UPGRADE sends HTTP/1.1 requests over HTTP/2, DO_NOT_UPGRADE does not. DEFAULT is
        /// meshConfig.h2UpgradePolicy.
        h2_upgrade_policy: H2UpgradePolicy,
        /// True to send requests with the protocol version that the client used. Excludes h2UpgradePolicy UPGRADE.
        use_client_protocol: bool,
        /// Maximum number of concurrent streams of one HTTP/2 connection. 0 (default) is 2147483647.
        max_concurrent_streams: i32,
        /// HTTP/2 PING frames that check whether the connection is alive. By default none are sent.
        http2_keep_alive: Option<Http2KeepAlive>,
    }

    Http2KeepAlive {
        /// Time between PING frames, at least 1ms. Required.
        interval: Option<GoDuration>,
        /// Time without response after which the connection is closed, at least 1ms. Required.
        timeout: Option<GoDuration>,
    }
}

wire_enum!(
    H2UpgradePolicy {
        #[default]
        Default = "DEFAULT" / 0,
        DoNotUpgrade = "DO_NOT_UPGRADE" / 1,
        Upgrade = "UPGRADE" / 2,
    }
);

pub(crate) fn read(
    wire: &WirePool,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> ConnectionPool {
    if wire.tcp.is_none() && wire.http.is_none() {
        findings
            .error(path, "the connection pool is empty")
            .suggest("set tcp or http");
    }
    let mut pool = ConnectionPool::default();
    if let Some(tcp) = &wire.tcp {
        tcp_settings(tcp, &mut pool, &path.field("tcp"), findings);
    }
    if let Some(http) = &wire.http {
        http_settings(http, &mut pool, &path.field("http"), findings);
    }
    pool
}

fn tcp_settings(
    wire: &TcpSettings,
    pool: &mut ConnectionPool,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) {
    pool.max_connections = count(
        wire.max_connections,
        &path.field("maxConnections"),
        findings,
    );
    rules::duration(
        wire.connect_timeout,
        &path.field("connectTimeout"),
        findings,
    );
    let age = path.field("maxConnectionDuration");
    rules::duration(wire.max_connection_duration, &age, findings);
    rules::duration_or_zero(wire.idle_timeout, &path.field("idleTimeout"), findings);
    let keepalive = wire.tcp_keepalive.as_ref();
    pool.tcp_keepalive =
        keepalive.map(|wire| tcp_keepalive(wire, &path.field("tcpKeepalive"), findings));
    pool.connect_timeout = wire.connect_timeout.map(|timeout| timeout.0);
    pool.max_connection_duration = wire.max_connection_duration.map(|age| age.0);
    pool.tcp_idle_timeout = wire.idle_timeout.map(|timeout| timeout.0);
}

/// Also the mesh's setting.
pub(crate) fn tcp_keepalive(
    wire: &WireKeepalive,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> TcpKeepalive {
    rules::duration(wire.time, &path.field("time"), findings);
    rules::duration(wire.interval, &path.field("interval"), findings);
    TcpKeepalive {
        probes: Some(wire.probes).filter(|probes| *probes > 0),
        time: wire.time.map(|time| time.0),
        interval: wire.interval.map(|interval| interval.0),
    }
}

fn http_settings(
    wire: &HttpSettings,
    pool: &mut ConnectionPool,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) {
    let mut limit = |value, field| count(value, &path.field(field), findings);
    pool.http1_max_pending_requests =
        limit(wire.http1_max_pending_requests, "http1MaxPendingRequests");
    pool.http2_max_requests = limit(wire.http2_max_requests, "http2MaxRequests");
    pool.max_requests_per_connection =
        limit(wire.max_requests_per_connection, "maxRequestsPerConnection");
    pool.max_retries = limit(wire.max_retries, "maxRetries");
    pool.max_concurrent_streams = limit(wire.max_concurrent_streams, "maxConcurrentStreams");
    rules::duration_or_zero(wire.idle_timeout, &path.field("idleTimeout"), findings);
    pool.http_idle_timeout = wire.idle_timeout.map(|timeout| timeout.0);
    if wire.use_client_protocol && wire.h2_upgrade_policy == H2UpgradePolicy::Upgrade {
        findings
            .error(
                &path.field("useClientProtocol"),
                "the client's protocol cannot be kept and upgraded",
            )
            .suggest("leave h2UpgradePolicy out");
    }
    pool.use_client_protocol = wire.use_client_protocol;
    pool.h2_upgrade = match wire.h2_upgrade_policy {
        H2UpgradePolicy::Default => H2Upgrade::Default,
        H2UpgradePolicy::DoNotUpgrade => H2Upgrade::DoNotUpgrade,
        H2UpgradePolicy::Upgrade => H2Upgrade::Upgrade,
    };
    if let Some(keepalive) = &wire.http2_keep_alive {
        http2_keepalive(keepalive, pool, &path.field("http2KeepAlive"), findings);
    }
}

fn http2_keepalive(
    wire: &Http2KeepAlive,
    pool: &mut ConnectionPool,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) {
    for (field, value) in [("interval", wire.interval), ("timeout", wire.timeout)] {
        let at = path.field(field);
        if value.is_none() {
            findings.error(&at, format!("{field} is required"));
        }
        rules::duration(value, &at, findings);
    }
    let both = wire.interval.zip(wire.timeout);
    pool.http2_keepalive = both.map(|(interval, timeout)| (interval.0, timeout.0));
}

/// Zero is Istio's "not set" in all counts of a pool.
fn count(value: i32, path: &FieldPath<'_>, findings: &mut Findings<'_>) -> Option<u32> {
    rules::not_negative(value, path, findings);
    u32::try_from(value).ok().filter(|value| *value > 0)
}
