//! Limits and timers of upstream connections.

use std::time::Duration;

/// `ConnectionPoolSettings`. `None` is Istio's default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConnectionPool {
    /// Connections (default 2^32-1).
    pub max_connections: Option<u32>,
    /// Dial limit (default: the mesh's 10 s).
    pub connect_timeout: Option<Duration>,
    /// Keepalive.
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// Age at which a connection is closed.
    pub max_connection_duration: Option<Duration>,
    /// Idle TCP connections; `Some(0)` is off.
    pub tcp_idle_timeout: Option<Duration>,
    /// Requests waiting for a connection (default 2^32-1).
    pub http1_max_pending_requests: Option<u32>,
    /// Requests at once, HTTP/1 too (default 2^32-1).
    pub http2_max_requests: Option<u32>,
    /// Requests until a connection is closed; 0 is unlimited.
    pub max_requests_per_connection: Option<u32>,
    /// Retries at once (default 2^32-1).
    pub max_retries: Option<u32>,
    /// Idle HTTP connections (default 1 h); `Some(0)` is off.
    pub http_idle_timeout: Option<Duration>,
    /// HTTP/1.1 towards HTTP/2.
    pub h2_upgrade: H2Upgrade,
    /// Speak what the client speaks.
    pub use_client_protocol: bool,
    /// Streams of one HTTP/2 connection (default 2^31-1).
    pub max_concurrent_streams: Option<u32>,
    /// HTTP/2 PING: interval, timeout.
    pub http2_keepalive: Option<(Duration, Duration)>,
}

/// `h2UpgradePolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum H2Upgrade {
    /// The mesh's setting.
    #[default]
    Default,
    /// Never.
    DoNotUpgrade,
    /// Always.
    Upgrade,
}

/// `tcpKeepalive`; `None` is the system's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct TcpKeepalive {
    /// Probes without answer until the connection is dead.
    pub probes: Option<u32>,
    /// Idle time until the first probe.
    pub time: Option<Duration>,
    /// Time between probes.
    pub interval: Option<Duration>,
}
