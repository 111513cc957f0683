//! What is known of a connection and of a request: written along the request path, read by access logs,
//! metrics and RBAC. Corresponds to Envoy's `StreamInfo`.

use std::borrow::Cow;
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::HeaderValue;
use smallvec::SmallVec;

use crate::config::ClusterId;
use crate::config::listener::Direction;
use crate::upstream::{ConnectionFacts, Host, UpstreamCluster};

/// A downstream connection. Immutable once the filter chain runs.
#[derive(Debug)]
pub struct ConnectionInfo {
    /// Unique within the process.
    pub id: u64,
    /// Towards or from the application.
    pub direction: Direction,
    /// The client, after PROXY protocol.
    pub remote: SocketAddr,
    /// The client as the socket has it.
    pub direct_remote: SocketAddr,
    /// Where the client connected to, after original-destination restoration.
    pub local: SocketAddr,
    /// The address before redirection, if an `original_dst` listener filter restored one: where clusters of
    /// type `ORIGINAL_DST` connect to. `None` for a client that connected to the proxy itself.
    pub original_destination: Option<SocketAddr>,
    /// SNI of the ClientHello, TLS terminated here or not.
    pub server_name: Option<Box<str>>,
    /// Termination of TLS, if it happened here.
    pub tls: Option<TlsInfo>,
    /// When it was accepted.
    pub start: Instant,
    /// The filter chain's name.
    pub filter_chain: Arc<str>,
}

/// A TLS session that ended here.
#[derive(Debug, Default)]
pub struct TlsInfo {
    /// `TLSv1.3`, `TLSv1.2`.
    pub version: &'static str,
    /// IANA name of the cipher suite.
    pub cipher: Cow<'static, str>,
    /// The protocol chosen by ALPN.
    pub alpn: Option<Box<[u8]>>,
    /// The verified peer certificate; `None` if the client sent none.
    pub peer: Option<PeerCertificate>,
    /// URI SANs of our own certificate.
    pub local_uri_sans: Vec<Box<str>>,
}

/// What policies and headers need of a verified peer certificate.
#[derive(Debug, Default)]
pub struct PeerCertificate {
    /// URI SANs. A mesh certificate has exactly one, its SPIFFE identity.
    pub uri_sans: Vec<Box<str>>,
    /// DNS SANs.
    pub dns_sans: Vec<Box<str>>,
    /// Subject as RFC 2253 text.
    pub subject: Box<str>,
    /// SHA-256 of the DER, lower-case hex.
    pub sha256_hex: Box<str>,
    /// The certificate itself (XFCC `Cert`).
    pub der: Box<[u8]>,
}

/// Envoy's response flags, one bit each; printed by their short names in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, PartialOrd, Ord)]
pub struct ResponseFlags(pub u32);

macro_rules! response_flags {
    ($($(#[$doc:meta])* $name:ident = $short:literal, $bit:literal;)*) => {
        impl ResponseFlags {
            $($(#[$doc])* pub const $name: Self = Self(1 << $bit);)*
            const NAMES: &'static [(Self, &'static str)] = &[$((Self::$name, $short)),*];
        }
    };
}

response_flags! {
    /// Retries or connection attempts used up. Stands first: Envoy prints flags in the order in which they were
    /// set, and this one is set before the reason of the last try.
    UPSTREAM_RETRY_LIMIT_EXCEEDED = "URX", 15;
    /// Local health check failed.
    FAILED_LOCAL_HEALTH_CHECK = "LH", 0;
    /// No healthy upstream.
    NO_HEALTHY_UPSTREAM = "UH", 1;
    /// Upstream request timeout.
    UPSTREAM_REQUEST_TIMEOUT = "UT", 2;
    /// Local reset.
    LOCAL_RESET = "LR", 3;
    /// Upstream reset the stream.
    UPSTREAM_REMOTE_RESET = "UR", 4;
    /// Connecting to the upstream failed.
    UPSTREAM_CONNECTION_FAILURE = "UF", 5;
    /// The upstream closed the connection.
    UPSTREAM_CONNECTION_TERMINATION = "UC", 6;
    /// Circuit breaker.
    UPSTREAM_OVERFLOW = "UO", 7;
    /// No route.
    NO_ROUTE_FOUND = "NR", 8;
    /// Delay injected.
    DELAY_INJECTED = "DI", 9;
    /// Fault injected.
    FAULT_INJECTED = "FI", 10;
    /// Rate limited.
    RATE_LIMITED = "RL", 11;
    /// Denied by external authorization.
    UNAUTHORIZED_EXTERNAL_SERVICE = "UAEX", 12;
    /// Rate limit service error.
    RATELIMIT_SERVICE_ERROR = "RLSE", 13;
    /// The client closed.
    DOWNSTREAM_CONNECTION_TERMINATION = "DC", 14;
    /// Stream idle timeout.
    STREAM_IDLE_TIMEOUT = "SI", 16;
    /// Invalid Envoy request headers.
    INVALID_ENVOY_REQUEST_HEADERS = "IH", 17;
    /// Downstream protocol error.
    DOWNSTREAM_PROTOCOL_ERROR = "DPE", 18;
    /// Upstream reached its maximum stream duration.
    UPSTREAM_MAX_STREAM_DURATION = "UMSDR", 19;
    /// No cluster.
    NO_CLUSTER_FOUND = "NC", 20;
    /// Request or connection duration timeout.
    DURATION_TIMEOUT = "DT", 21;
    /// Upstream protocol error.
    UPSTREAM_PROTOCOL_ERROR = "UPE", 22;
    /// Overload manager.
    OVERLOAD_MANAGER = "OM", 23;
    /// DNS resolution failed.
    DNS_RESOLUTION_FAILED = "DF", 24;
    /// Downstream reset the stream.
    DOWNSTREAM_REMOTE_RESET = "DR", 25;
}

impl ResponseFlags {
    /// True if any flag of `other` is set.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The flag with a short name (`UF`).
    pub fn from_short_name(name: &str) -> Option<Self> {
        Self::NAMES
            .iter()
            .find(|(_, short)| *short == name)
            .map(|(flag, _)| *flag)
    }

    /// Sets the flags of `other`.
    pub fn insert(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl std::fmt::Display for ResponseFlags {
    /// `-` when empty, else the short names joined by commas.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 == 0 {
            return f.write_str("-");
        }
        let set = Self::NAMES.iter().filter(|(flag, _)| self.contains(*flag));
        for (n, (_, short)) in set.enumerate() {
            if n > 0 {
                f.write_str(",")?;
            }
            f.write_str(short)?;
        }
        Ok(())
    }
}

/// Bytes of one direction, shared between the body in flight and its stream.
pub type ByteCount = Rc<Cell<u64>>;

/// One HTTP request, or one TCP connection (then the HTTP fields are empty).
#[derive(Debug)]
pub struct StreamInfo {
    /// The connection it came on.
    pub connection: Rc<ConnectionInfo>,
    /// The client: the connection's, or what trusted proxies say (`x-forwarded-for`; port 0 then).
    pub remote: SocketAddr,
    /// When it began, for durations.
    pub start: Instant,
    /// When it began, for people.
    pub start_time: SystemTime,
    /// HTTP version; `None` for TCP.
    pub protocol: Option<http::Version>,
    /// `:method`.
    pub method: Option<http::Method>,
    /// The path as received, before normalisation and rewrites (`x-envoy-original-path` or `:path`).
    pub original_path: Option<HeaderValue>,
    /// `:authority` as received.
    pub authority: Option<HeaderValue>,
    /// Status sent to the client; 0 if none was sent.
    pub response_code: u16,
    /// Why, in Envoy's words (`via_upstream`, `route_not_found`, `rbac_access_denied_matched_policy[...]`).
    pub response_code_details: Cow<'static, str>,
    /// Response flags.
    pub flags: ResponseFlags,
    /// Why the connection was ended by us, if it was.
    pub connection_termination_details: Option<Cow<'static, str>>,
    /// Body bytes from the client.
    pub bytes_received: ByteCount,
    /// Body bytes to the client.
    pub bytes_sent: ByteCount,
    /// Name of the matched route.
    pub route_name: Option<Arc<str>>,
    /// The cluster the request went to.
    pub cluster: Option<ClusterId>,
    /// Its name.
    pub cluster_name: Option<Arc<str>>,
    /// The endpoint chosen last.
    pub upstream_host: Option<SocketAddr>,
    /// Our address on the upstream connection.
    pub upstream_local: Option<SocketAddr>,
    /// Why the upstream connection failed (TLS and connect errors).
    pub upstream_transport_failure: Option<Box<str>>,
    /// The connection to the upstream, with its TLS session.
    pub upstream_connection: Option<Rc<ConnectionFacts>>,
    /// The endpoint chosen last, with its metadata.
    pub upstream_endpoint: Option<Rc<Host>>,
    /// The cluster as configured, where no endpoint was chosen.
    pub upstream_cluster: Option<Rc<UpstreamCluster>>,
    /// From sending the request upstream to the first response byte.
    pub upstream_service_time: Option<Duration>,
    /// Tries made, the first included.
    pub attempts: u32,
    /// `grpc-status`, from headers or trailers.
    pub grpc_status: Option<u16>,
    /// True if the request is gRPC (`content-type: application/grpc`).
    pub grpc: bool,
    /// gRPC messages counted by `envoy.filters.http.grpc_stats`: to the upstream, to the client.
    pub grpc_messages: (u64, u64),
    /// Who the peer is, for metrics: found by the peer metadata filter.
    pub peer: Option<Arc<super::peer_metadata::Peer>>,
    /// Request header values that access logs asked for, in the order of the logs' requests.
    pub logged_request_headers: SmallVec<[Option<HeaderValue>; 8]>,
    /// Response header values that access logs asked for.
    pub logged_response_headers: SmallVec<[Option<HeaderValue>; 4]>,
}

impl StreamInfo {
    /// A stream that begins now.
    pub fn new(connection: Rc<ConnectionInfo>) -> Self {
        Self {
            remote: connection.remote,
            connection,
            start: Instant::now(),
            start_time: SystemTime::now(),
            protocol: None,
            method: None,
            original_path: None,
            authority: None,
            response_code: 0,
            response_code_details: Cow::Borrowed(""),
            flags: ResponseFlags::default(),
            connection_termination_details: None,
            bytes_received: ByteCount::default(),
            bytes_sent: ByteCount::default(),
            route_name: None,
            cluster: None,
            cluster_name: None,
            upstream_host: None,
            upstream_local: None,
            upstream_transport_failure: None,
            upstream_connection: None,
            upstream_endpoint: None,
            upstream_cluster: None,
            upstream_service_time: None,
            attempts: 0,
            grpc_status: None,
            grpc: false,
            grpc_messages: (0, 0),
            peer: None,
            logged_request_headers: SmallVec::new(),
            logged_response_headers: SmallVec::new(),
        }
    }
}
