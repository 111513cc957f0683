//! The TCP proxy filter.

/// `envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy` as executed.
#[derive(Debug)]
pub struct TcpProxy {
    /// `stat_prefix`.
    pub stat_prefix: Box<str>,
}
