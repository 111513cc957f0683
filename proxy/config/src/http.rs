//! The HTTP connection manager as executed
//! (`envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`).

use std::sync::Arc;
use std::time::Duration;

use super::RouteTableId;
use super::route::RouteConfig;
use crate::access_log::AccessLog;
use crate::filter::FilterSpec;

/// One HTTP connection manager.
#[derive(Debug)]
pub struct HttpConnectionManager {
    /// `stat_prefix`.
    pub stat_prefix: Arc<str>,
    /// Which protocols are spoken.
    pub codec: Codec,
    /// Where routes come from.
    pub routes: RouteSource,
    /// The filters in order, without the router, which comes after them.
    pub filters: Vec<FilterSpec>,
    /// The router's options.
    pub router: RouterOptions,
    /// Access logs.
    pub access_logs: Vec<AccessLog>,
    /// `server_name` and what to do with an upstream's own (`server_header_transformation`).
    pub server_header: ServerHeader,
    /// How the client's address and the edge headers are treated.
    pub edge: EdgeOptions,
    /// What happens to `x-forwarded-client-cert`.
    pub forwarded_client_cert: ForwardClientCert,
    /// How `:path` is cleaned before anything matches on it.
    pub path_normalization: PathNormalization,
    /// `x-request-id` handling.
    pub request_id: RequestIdOptions,
    /// Protocol limits and timers.
    pub limits: HttpLimits,
    /// `upgrade_configs`: lower-case upgrade types that may pass, e.g. `websocket`.
    pub upgrades: Vec<Box<str>>,
    /// `via`.
    pub via: Option<http::HeaderValue>,
    /// Keep header case on HTTP/1 (`preserve_case` formatter).
    pub preserve_header_case: bool,
    /// Accept HTTP/1.0 (`accept_http_10`), with this host if it sends none.
    pub http10: Http10,
    /// `http_protocol_options.enable_trailers`: pass trailers of HTTP/1 clients on, and to them.
    pub http1_trailers: bool,
    /// `strip_any_host_port` / `strip_matching_host_port`.
    pub strip_host_port: StripHostPort,
    /// `strip_trailing_host_dot`.
    pub strip_trailing_host_dot: bool,
}

/// `envoy.filters.http.router`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RouterOptions {
    /// `suppress_envoy_headers`: add no `x-envoy-*` header.
    pub suppress_envoy_headers: bool,
    /// `respect_expected_rq_timeout`: an inner proxy keeps to the limit that the outer one told.
    pub respect_expected_timeout: bool,
}

/// `codec_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// By ALPN, else by the first bytes.
    Auto,
    /// HTTP/1 only.
    Http1,
    /// HTTP/2 only (prior knowledge).
    Http2,
}

/// Where routes come from.
#[derive(Debug, Clone)]
pub enum RouteSource {
    /// `route_config`.
    Inline(Arc<RouteConfig>),
    /// `rds`: looked up per request in the configuration in force.
    Rds(RouteTableId),
}

/// The `server` response header.
#[derive(Debug, Clone)]
pub struct ServerHeader {
    /// The value.
    pub name: http::HeaderValue,
    /// What to do if the upstream sent one.
    pub mode: ServerHeaderMode,
}

/// `server_header_transformation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerHeaderMode {
    /// Always ours.
    Overwrite,
    /// Ours if there is none.
    AppendIfAbsent,
    /// The upstream's or none.
    PassThrough,
}

/// Client address and trust (`use_remote_address`, `xff_num_trusted_hops`, ...).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EdgeOptions {
    /// True at the edge: append to XFF, distrust `x-envoy-*` from outside.
    pub use_remote_address: bool,
    /// Trusted proxies in front of us.
    pub xff_trusted_hops: u32,
    /// Do not append to XFF.
    pub skip_xff_append: bool,
    /// `internal_address_config.cidr_ranges`: who is one of our own; no one by default.
    pub internal: Vec<ipnet::IpNet>,
}

impl EdgeOptions {
    /// True if the address is one of our own.
    pub fn is_internal(&self, address: std::net::IpAddr) -> bool {
        let address = address.to_canonical();
        self.internal.iter().any(|net| net.contains(&address))
    }
}

/// `forward_client_cert_details` with `set_current_client_cert_details`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForwardClientCert {
    /// What happens to the header.
    pub mode: ForwardClientCertMode,
    /// Add `Subject`.
    pub subject: bool,
    /// Add `Cert`.
    pub cert: bool,
    /// Add `Chain`.
    pub chain: bool,
    /// Add `DNS`.
    pub dns: bool,
    /// Add `URI`.
    pub uri: bool,
}

/// `ForwardClientCertDetails`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardClientCertMode {
    /// Remove it.
    Sanitize,
    /// Keep it if the connection is mTLS.
    ForwardOnly,
    /// Append this hop if the connection is mTLS.
    AppendForward,
    /// Replace it by this hop.
    SanitizeSet,
    /// Keep it always.
    AlwaysForwardOnly,
}

/// `normalize_path`, `merge_slashes`, `path_with_escaped_slashes_action`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathNormalization {
    /// RFC 3986 dot segments, backslashes, percent-encoding of unreserved characters.
    pub normalize: bool,
    /// `//` becomes `/`.
    pub merge_slashes: bool,
    /// What to do about `%2F` and `%5C`.
    pub escaped_slashes: EscapedSlashes,
}

/// `path_with_escaped_slashes_action`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EscapedSlashes {
    /// Leave them.
    Keep,
    /// 400.
    Reject,
    /// Unescape, then redirect with 307.
    UnescapeAndRedirect,
    /// Unescape and go on.
    UnescapeAndForward,
}

/// `generate_request_id`, `preserve_external_request_id`, `always_set_request_id_in_response`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestIdOptions {
    /// Make one if there is none.
    pub generate: bool,
    /// Keep the one of an edge client.
    pub preserve_external: bool,
    /// Also answer with it.
    pub set_in_response: bool,
}

/// Limits and timers; `None` is unlimited.
#[derive(Debug, Clone)]
pub struct HttpLimits {
    /// `max_request_headers_kb`, in bytes.
    pub max_headers_bytes: u32,
    /// `max_headers_count`.
    pub max_headers_count: u32,
    /// `idle_timeout` of the connection.
    pub idle_timeout: Option<Duration>,
    /// `stream_idle_timeout`.
    pub stream_idle_timeout: Option<Duration>,
    /// `request_headers_timeout`.
    pub request_headers_timeout: Option<Duration>,
    /// `max_stream_duration`.
    pub max_stream_duration: Option<Duration>,
    /// `max_connection_duration`.
    pub max_connection_duration: Option<Duration>,
    /// `drain_timeout`: for how long a connection over HTTP/2 that is to end takes new streams at most.
    pub drain_timeout: Duration,
    /// `delayed_close_timeout`: how long a client may take to read a refusal while it still sends; zero does not wait.
    pub delayed_close_timeout: Duration,
    /// `max_concurrent_streams`.
    pub max_concurrent_streams: u32,
    /// `initial_stream_window_size`.
    pub initial_stream_window: u32,
    /// `initial_connection_window_size`.
    pub initial_connection_window: u32,
    /// `connection_keepalive`: PING after this time, and close unless it is answered within that time.
    pub http2_keepalive: Option<(Duration, Duration)>,
    /// `max_requests_per_connection`; 0 is unlimited.
    pub max_requests_per_connection: u32,
}

/// `Http1ProtocolOptions.accept_http_10` and `default_host_for_http_10`.
#[derive(Debug, Clone, Default)]
pub struct Http10 {
    /// Accept HTTP/1.0; otherwise 426.
    pub accept: bool,
    /// Host for requests without one.
    pub default_host: Option<http::HeaderValue>,
}

/// What to remove from `:authority` before matching and forwarding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StripHostPort {
    /// Nothing.
    Keep,
    /// The port if it is the listener's.
    Matching,
    /// Any port.
    Any,
}
