//! Clusters as executed (`envoy.config.cluster.v3.Cluster`).

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::ClusterId;
use super::filter::FilterSpec;
use super::metadata::{Metadata, Struct};
use super::secret::ResourceSource;
use super::tls::ClientTls;

pub mod circuit_breaker;
pub mod outlier_detection;

use circuit_breaker::CircuitBreakers;
use outlier_detection::OutlierSettings;

/// One cluster.
#[derive(Debug)]
pub struct Cluster {
    /// The resource name.
    pub name: Arc<str>,
    /// Its slot.
    pub id: ClusterId,
    /// Name in statistics (`alt_stat_name`, else the name).
    pub stat_name: Arc<str>,
    /// Where endpoints come from.
    pub discovery: Discovery,
    /// `connect_timeout`: TCP connect and TLS handshake together.
    pub connect_timeout: Duration,
    /// `per_connection_buffer_limit_bytes`.
    pub buffer_limit_bytes: u32,
    /// How a host is chosen.
    pub balancing: Balancing,
    /// Concurrency limits by routing priority.
    pub circuit_breakers: CircuitBreakers,
    /// Passive health checking; `None` if not configured.
    pub outlier_detection: Option<OutlierSettings>,
    /// The HTTP protocol spoken upstream, and its options.
    pub http: HttpOptions,
    /// TLS or plaintext, by endpoint metadata.
    pub transport: Transport,
    /// Local addresses to connect from (`upstream_bind_config`), one per address family.
    pub bind_addresses: Vec<SocketAddr>,
    /// `upstream_connection_options.tcp_keepalive`.
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// `close_connections_on_host_health_failure`.
    pub close_connections_on_host_health_failure: bool,
    /// The cluster's metadata, e.g. Istio's `istio.services`.
    pub metadata: Metadata,
    /// The service behind the cluster for Istio's metrics.
    pub service: Option<ServiceName>,
    /// The resource as it came.
    pub source: ResourceSource,
}

/// The first entry of `metadata.filter_metadata["istio"].services`: what Istio's metrics call the destination.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServiceName {
    /// `destination_service`: the full host name.
    pub host: Box<str>,
    /// `destination_service_name`.
    pub name: Box<str>,
    /// `destination_service_namespace`.
    pub namespace: Box<str>,
}

/// Where endpoints come from.
#[derive(Debug, Clone)]
pub enum Discovery {
    /// `STATIC`: from the cluster itself.
    Static,
    /// `EDS`, under this resource name.
    Eds {
        /// `service_name`, else the cluster's name.
        service_name: Arc<str>,
    },
    /// `STRICT_DNS`: every address of every name is an endpoint.
    StrictDns(DnsOptions),
    /// `LOGICAL_DNS`: one endpoint, whose address is the first one of the latest answer.
    LogicalDns(DnsOptions),
    /// `ORIGINAL_DST`: where the client wanted to go.
    OriginalDst(OriginalDstOptions),
}

/// A cluster whose names have to be looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsTarget {
    /// The cluster.
    pub cluster: Arc<str>,
    /// How.
    pub options: DnsOptions,
    /// The names.
    pub hosts: Vec<Box<str>>,
}

/// What the names of a cluster stand for now.
#[derive(Debug)]
pub struct DnsAnswer {
    /// The cluster.
    pub cluster: Arc<str>,
    /// Addresses by name, sorted unless the order matters.
    pub addresses: HashMap<Box<str>, Vec<IpAddr>>,
}

/// How names are looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsOptions {
    /// Time between look-ups.
    pub refresh_rate: Duration,
    /// First and last wait after a failed look-up.
    pub failure_refresh: (Duration, Duration),
    /// Look up again when the answer's TTL is over instead.
    pub respect_ttl: bool,
    /// Random extra time between look-ups.
    pub jitter: Duration,
    /// Address families.
    pub family: DnsFamily,
    /// Servers to ask instead of the system's.
    pub resolvers: Vec<SocketAddr>,
}

/// `DnsLookupFamily`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DnsFamily {
    /// IPv6, and IPv4 if there is none.
    Auto,
    /// IPv4 only.
    V4Only,
    /// IPv6 only.
    V6Only,
    /// IPv4, and IPv6 if there is none.
    V4Preferred,
    /// Both.
    All,
}

/// `OriginalDstLbConfig`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OriginalDstOptions {
    /// `upstream_port_override`.
    pub port_override: Option<u16>,
    /// Hosts that nobody used for this long are forgotten (`cleanup_interval`).
    pub cleanup_interval: Duration,
}

/// How a host is chosen.
#[derive(Debug, Clone)]
pub struct Balancing {
    /// The algorithm.
    pub policy: LbPolicy,
    /// `healthy_panic_threshold` in percent: below it health is ignored. 0 never panics.
    pub panic_threshold: u8,
    /// `fail_traffic_on_panic`: refuse instead of ignoring health.
    pub fail_traffic_on_panic: bool,
    /// `locality_weighted_lb_config`: localities share the load by their weights.
    pub locality_weighted: bool,
    /// `lb_subset_config`.
    pub subsets: Option<SubsetOptions>,
}

/// The algorithms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LbPolicy {
    /// `ROUND_ROBIN`.
    RoundRobin,
    /// `LEAST_REQUEST`.
    LeastRequest {
        /// How many hosts are compared when weights are equal.
        choice_count: u32,
        /// How strongly active requests count when weights differ.
        active_request_bias: f64,
    },
    /// `RANDOM`.
    Random,
    /// `RING_HASH`.
    RingHash(RingHashOptions),
    /// `MAGLEV`.
    Maglev {
        /// Size of the table, a prime.
        table_size: u32,
        /// Hash host names instead of addresses.
        use_hostname: bool,
    },
    /// `CLUSTER_PROVIDED`: the original destination.
    ClusterProvided,
}

/// `RingHashLbConfig`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RingHashOptions {
    /// `minimum_ring_size`.
    pub minimum_size: u64,
    /// `maximum_ring_size`.
    pub maximum_size: u64,
    /// Hash host names instead of addresses.
    pub use_hostname: bool,
}

/// `LbSubsetConfig`: endpoints grouped by their `envoy.lb` metadata.
#[derive(Debug, Clone, PartialEq)]
pub struct SubsetOptions {
    /// Key sets, each sorted, by which groups are formed.
    pub selectors: Vec<Vec<Arc<str>>>,
    /// What to do when no group matches.
    pub fallback: SubsetFallback,
}

/// `LbSubsetFallbackPolicy`.
#[derive(Debug, Clone, PartialEq)]
pub enum SubsetFallback {
    /// No host: 503.
    NoFallback,
    /// Any host.
    AnyEndpoint,
    /// Hosts with this metadata.
    DefaultSubset(Struct),
}

/// What the upstream speaks.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// How the protocol is chosen.
    pub protocol: UpstreamProtocol,
    /// Options of HTTP/1 connections.
    pub http1: Http1Options,
    /// Options of HTTP/2 connections.
    pub http2: Http2Options,
    /// `idle_timeout` of pooled connections; `None` keeps them.
    pub idle_timeout: Option<Duration>,
    /// `max_connection_duration`.
    pub max_connection_duration: Option<Duration>,
    /// `max_requests_per_connection`; `None` is unlimited.
    pub max_requests_per_connection: Option<u32>,
    /// `http_filters` without the codec at their end: they run for each attempt.
    pub filters: Vec<FilterSpec>,
    /// `auto_sni`: the SNI is the request's authority.
    pub auto_sni: bool,
}

/// How the upstream protocol is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamProtocol {
    /// `explicit_http_config.http_protocol_options`.
    Http1,
    /// `explicit_http_config.http2_protocol_options`.
    Http2,
    /// `use_downstream_protocol_config`: as the client does.
    Downstream,
    /// `auto_config`: by ALPN.
    Auto,
}

/// `Http1ProtocolOptions` of the upstream side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http1Options {
    /// How header names are written.
    pub header_case: HeaderCase,
    /// Most bytes of response headers.
    pub max_headers_bytes: u32,
    /// Most response headers.
    pub max_headers_count: u32,
    /// `enable_trailers`: pass trailers on to servers, and from them.
    pub trailers: bool,
}

/// `header_key_format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderCase {
    /// Lower case.
    Lower,
    /// `Proper-Case`.
    Title,
    /// As the client wrote them.
    Preserve,
}

/// `Http2ProtocolOptions` of the upstream side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http2Options {
    /// `max_concurrent_streams` of one connection.
    pub max_concurrent_streams: u32,
    /// `initial_stream_window_size`.
    pub stream_window: u32,
    /// `initial_connection_window_size`.
    pub connection_window: u32,
    /// `connection_keepalive`: interval and timeout of PINGs.
    pub keepalive: Option<(Duration, Duration)>,
    /// Most bytes of response headers.
    pub max_headers_bytes: u32,
}

/// `transport_socket_matches` over `transport_socket`.
#[derive(Debug, Clone)]
pub struct Transport {
    /// Tried in order against the endpoint's `envoy.transport_socket_match` metadata.
    pub matches: Vec<TransportMatch>,
    /// `transport_socket`, for endpoints that match none.
    pub default: TransportSocket,
}

/// One entry of `transport_socket_matches`.
#[derive(Debug, Clone)]
pub struct TransportMatch {
    /// Fields that the endpoint's metadata must have.
    pub criteria: Struct,
    /// What to use then.
    pub socket: TransportSocket,
}

/// How bytes travel.
#[derive(Debug, Clone)]
pub enum TransportSocket {
    /// `raw_buffer`.
    Raw,
    /// `tls`.
    Tls(Arc<ClientTls>),
}

impl Transport {
    /// The first entry of `matches` for an endpoint with this metadata; `None` for the default socket.
    pub fn position(&self, metadata: &Metadata) -> Option<usize> {
        let facts = metadata.filter("envoy.transport_socket_match");
        self.matches
            .iter()
            .position(|candidate| candidate.criteria.is_subset_of(facts))
    }
}

/// `TcpKeepalive`; `None` leaves the kernel's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TcpKeepalive {
    /// Probes before giving up.
    pub probes: Option<u32>,
    /// Idle time before the first probe.
    pub time: Option<Duration>,
    /// Time between probes.
    pub interval: Option<Duration>,
}

/// `RoutingPriority`: which circuit breakers count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RoutingPriority {
    /// `DEFAULT`.
    #[default]
    Default,
    /// `HIGH`.
    High,
}

impl Cluster {
    /// How its names are looked up, if it has names.
    pub fn dns_options(&self) -> Option<&DnsOptions> {
        match &self.discovery {
            Discovery::StrictDns(options) | Discovery::LogicalDns(options) => Some(options),
            _ => None,
        }
    }

    /// The name of its load assignment, if that comes by EDS.
    pub fn eds_name(&self) -> Option<&Arc<str>> {
        match &self.discovery {
            Discovery::Eds { service_name } => Some(service_name),
            _ => None,
        }
    }

    /// The local address to bind before connecting to an address of this family.
    pub fn bind_address_for(&self, remote: IpAddr) -> Option<SocketAddr> {
        self.bind_addresses
            .iter()
            .find(|local| local.is_ipv4() == remote.is_ipv4())
            .copied()
    }
}
