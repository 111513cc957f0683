//! A listener: where connections come in, how they are inspected, which filter chain they match
//! (`envoy.config.listener.v3.Listener`).

use std::net::SocketAddr;
use std::sync::Arc;

use super::filter_chain::FilterChain;

/// Which way traffic flows through the listener (`traffic_direction`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Not stated: a gateway or a plain proxy.
    Unspecified,
    /// Towards the local application.
    Inbound,
    /// From the local application.
    Outbound,
}

/// One listener as executed.
#[derive(Debug)]
pub struct Listener {
    /// The resource name.
    pub name: Arc<str>,
    /// Where it listens, or which original destination it stands for if `bind_to_port` is false.
    pub address: SocketAddr,
    /// Further addresses (`additional_addresses`).
    pub additional_addresses: Vec<SocketAddr>,
    /// False for listeners that only receive connections handed over by original destination.
    pub bind_to_port: bool,
    /// Hand the connection to the listener of its original destination (`use_original_dst`).
    pub use_original_dst: bool,
    /// `IP_TRANSPARENT` on the listening socket (TPROXY).
    pub transparent: bool,
    /// Inbound, outbound or neither.
    pub direction: Direction,
    /// What is learned from the first bytes, in order.
    pub listener_filters: Vec<ListenerFilter>,
    /// How long listener filters may wait for bytes; `None` waits for ever (`listener_filters_timeout` 0).
    pub listener_filters_timeout: Option<std::time::Duration>,
    /// Go on without the missing answer when the wait is over, instead of closing.
    pub continue_on_listener_filters_timeout: bool,
    /// The chains and the tree that finds the best one.
    pub filter_chains: Vec<Arc<FilterChain>>,
    /// Used when no other chain matches; without it the connection is closed.
    pub default_filter_chain: Option<Arc<FilterChain>>,
    /// `per_connection_buffer_limit_bytes`.
    pub buffer_limit_bytes: u32,
    /// Accept queue length (`tcp_backlog_size`).
    pub backlog: u32,
    /// The resource as it came, for the config dump and for telling an equal update.
    pub source: super::secret::ResourceSource,
}

/// A listener filter (`envoy.filters.listener.*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenerFilter {
    /// `original_dst`: restores the address before redirection.
    OriginalDst,
    /// `tls_inspector`: SNI and ALPN of a ClientHello.
    TlsInspector,
    /// `http_inspector`: HTTP/1 or HTTP/2 by the first bytes.
    HttpInspector,
    /// `proxy_protocol`: PROXY v1 or v2 header.
    ProxyProtocol,
}
