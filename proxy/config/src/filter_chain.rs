//! A filter chain: what it matches, how it terminates TLS, and its network filters
//! (`envoy.config.listener.v3.FilterChain`).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;

use super::http::HttpConnectionManager;
use super::rbac::Rbac;
use crate::filter::stats::StatsConfig;
use crate::tcp_proxy::TcpProxy;
use crate::tls::ServerTls;

/// One chain as executed.
#[derive(Debug)]
pub struct FilterChain {
    /// The chain's name (logs, `config_dump`).
    pub name: Arc<str>,
    /// What a connection must look like.
    pub matches: FilterChainMatch,
    /// TLS termination; `None` for plaintext.
    pub tls: Option<Arc<ServerTls>>,
    /// `transport_socket_connect_timeout`: the limit of the TLS handshake.
    pub handshake_timeout: Option<std::time::Duration>,
    /// The network filters before the terminal one, in order.
    pub filters: Vec<NetworkFilter>,
    /// The last filter: it owns the connection.
    pub terminal: Terminal,
}

/// `envoy.config.listener.v3.FilterChainMatch`, in the order in which Envoy narrows down.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct FilterChainMatch {
    /// Destination port after original-destination restoration.
    pub destination_port: Option<u16>,
    /// Destination addresses; empty for any.
    pub destination_prefixes: Vec<IpNet>,
    /// SNI names: exact, `*.suffix`; empty for any. Lower case.
    pub server_names: Vec<Box<str>>,
    /// What the inspectors found.
    pub transport: Option<Transport>,
    /// ALPN or inspected protocols; empty for any.
    pub application_protocols: Vec<Box<str>>,
    /// Direct source addresses; empty for any.
    pub direct_source_prefixes: Vec<IpNet>,
    /// `source_type`: same IP or loopback, or external.
    pub source_type: SourceType,
    /// Source addresses; empty for any.
    pub source_prefixes: Vec<IpNet>,
    /// Source ports; empty for any.
    pub source_ports: Vec<u16>,
}

/// `transport_protocol` of a filter chain match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// `raw_buffer`.
    RawBuffer,
    /// `tls`.
    Tls,
}

/// `source_type` of a filter chain match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum SourceType {
    /// Anyone.
    #[default]
    Any,
    /// The same machine: loopback, or the address that was connected to.
    SameIpOrLoopback,
    /// Anyone else.
    External,
}

/// A network filter that looks at the connection and lets it pass or closes it.
#[derive(Debug)]
pub enum NetworkFilter {
    /// `envoy.filters.network.rbac`.
    Rbac(Arc<Rbac>),
    /// `istio.stats` on a TCP chain: counts connections and bytes.
    IstioStats(Arc<StatsConfig>),
}

/// The filter at the end of a chain.
#[derive(Debug)]
pub enum Terminal {
    /// `envoy.filters.network.http_connection_manager`.
    Http(Arc<HttpConnectionManager>),
    /// `envoy.filters.network.tcp_proxy`.
    Tcp(Arc<TcpProxy>),
    /// `envoy.filters.network.echo` and other chains that only close: no terminal filter.
    Close,
}

/// What is known of a connection when a chain is chosen.
#[derive(Debug, Clone)]
pub struct ConnectionFacts<'a> {
    /// Destination after restoration.
    pub destination: SocketAddr,
    /// The direct peer.
    pub direct_source: IpAddr,
    /// The peer, after PROXY protocol.
    pub source: SocketAddr,
    /// SNI, lower case.
    pub server_name: Option<&'a str>,
    /// TLS or not.
    pub transport: Transport,
    /// ALPN of the ClientHello, or what the HTTP inspector found (`http/1.0`, `http/1.1`, `h2c`).
    pub application_protocols: &'a [Box<str>],
}
