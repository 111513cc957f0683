//! A listener: where connections come in, how they are inspected, which filter chain they match
//! (`envoy.config.listener.v3.Listener`).

use std::net::SocketAddr;
use std::sync::Arc;

use super::filter_chain::FilterChain;
use crate::access_log::AccessLog;
use crate::cluster::TcpKeepalive;

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
    /// Its name in statistics: `stat_prefix`, else the address.
    pub stat_name: Arc<str>,
    /// Where it listens, or which original destination it stands for if `bind_to_port` is false.
    pub address: SocketAddr,
    /// Further addresses (`additional_addresses`).
    pub additional_addresses: Vec<SocketAddr>,
    /// False for listeners that only receive connections handed over by original destination.
    pub bind_to_port: bool,
    /// How it binds.
    pub bind: BindOptions,
    /// Hand the connection to the listener of its original destination (`use_original_dst`).
    pub use_original_dst: bool,
    /// Inbound, outbound or neither.
    pub direction: Direction,
    /// What is learned from the first bytes, in order.
    pub listener_filters: Vec<ListenerFilter>,
    /// How long listener filters may wait for bytes; `None` waits for ever (`listener_filters_timeout` 0).
    pub listener_filters_timeout: Option<std::time::Duration>,
    /// Go on without the missing answer when the wait is over, instead of closing.
    pub continue_on_listener_filters_timeout: bool,
    /// The chains; `listener::match_chain` finds the best one.
    pub filter_chains: Vec<Arc<FilterChain>>,
    /// Used when no other chain matches; without it the connection is closed.
    pub default_filter_chain: Option<Arc<FilterChain>>,
    /// `per_connection_buffer_limit_bytes`.
    pub buffer_limit_bytes: u32,
    /// Logs of connections, written also where no filter chain matched.
    pub access_logs: Vec<AccessLog>,
    /// Keep-alive of accepted connections (`tcp_keepalive`).
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// The resource as it came, for the config dump and for telling an equal update.
    pub source: super::secret::ResourceSource,
}

/// How to bind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BindOptions {
    /// `IP_TRANSPARENT` (TPROXY).
    pub transparent: bool,
    /// `IP_FREEBIND`.
    pub freebind: bool,
    /// Length of the accept queue.
    pub backlog: u32,
}

/// A listener filter and when it is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerFilter {
    /// Which one.
    pub kind: ListenerFilterKind,
    /// `filter_disabled`.
    pub disabled: Option<Predicate>,
}

/// The listener filters (`envoy.filters.listener.*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenerFilterKind {
    /// `original_dst`: restores the address before redirection.
    OriginalDst,
    /// `tls_inspector`: SNI and ALPN of a ClientHello.
    TlsInspector,
    /// `http_inspector`: HTTP/1 or HTTP/2 by the first bytes.
    HttpInspector,
    /// `proxy_protocol`: PROXY v1 or v2 header.
    ProxyProtocol {
        /// Connections without a header pass.
        optional: bool,
    },
}

/// `ListenerFilterChainMatchPredicate`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Predicate {
    /// Always, or never.
    Any(bool),
    /// One of these.
    Or(Vec<Predicate>),
    /// All of these.
    And(Vec<Predicate>),
    /// Not this.
    Not(Box<Predicate>),
    /// The destination port, the end excluded.
    DestinationPort(std::ops::Range<u32>),
}

impl Predicate {
    /// Whether it holds for a connection to this port.
    pub fn matches(&self, port: u16) -> bool {
        match self {
            Self::Any(any) => *any,
            Self::Or(predicates) => predicates.iter().any(|p| p.matches(port)),
            Self::And(predicates) => predicates.iter().all(|p| p.matches(port)),
            Self::Not(predicate) => !predicate.matches(port),
            Self::DestinationPort(range) => range.contains(&u32::from(port)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_predicate_is_about_the_destination_port() {
        let mysql = Predicate::DestinationPort(3306..3307);
        let either = Predicate::Or(vec![mysql.clone(), Predicate::DestinationPort(25..26)]);
        let neither = Predicate::Not(Box::new(either.clone()));
        let ports = [25, 80, 3306, 3307];
        assert_eq!(
            ports.map(|port| either.matches(port)),
            [true, false, true, false]
        );
        assert_eq!(
            ports.map(|port| neither.matches(port)),
            [false, true, false, true]
        );
        let both = Predicate::And(vec![mysql, neither, Predicate::Any(true)]);
        assert_eq!(ports.map(|port| both.matches(port)), [false; 4]);
    }
}
