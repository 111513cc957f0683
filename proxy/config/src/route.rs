//! Route tables as executed (`envoy.config.route.v3.RouteConfiguration`): hosts indexed, matchers compiled,
//! clusters resolved to slots, header operations merged per route.

use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderName, HeaderValue};
use mesh_api::regex::Regex;

use super::ClusterId;
use super::cluster::RoutingPriority;
use super::matcher::metadata::MetadataMatcher;
use super::matcher::{Fraction, HeaderMatcher, QueryMatcher, StringMatcher};
use super::metadata::Struct;
use super::secret::ResourceSource;

pub mod headers;
pub mod host_index;
mod matching;
pub mod overrides;
pub mod retry;

use headers::HeaderOps;
use host_index::HostIndex;
use overrides::FilterOverrides;
use retry::RetryPolicy;

/// One route configuration.
#[derive(Debug, Default)]
pub struct RouteConfig {
    /// The resource name.
    pub name: Arc<str>,
    /// The virtual hosts in their order.
    pub virtual_hosts: Vec<VirtualHost>,
    /// Finds the virtual host of an authority.
    pub hosts: HostIndex,
    /// `ignore_port_in_host_matching`.
    pub ignore_port: bool,
    /// `internal_only_headers`: removed from requests that come from outside.
    pub internal_only_headers: Vec<HeaderName>,
    /// The resource as it came.
    pub source: ResourceSource,
}

/// One virtual host.
#[derive(Debug)]
pub struct VirtualHost {
    /// Its name.
    pub name: Arc<str>,
    /// Its routes; the first that matches wins.
    pub routes: Vec<Route>,
    /// `require_tls`.
    pub require_tls: RequireTls,
    /// Set `x-envoy-attempt-count` on requests.
    pub attempt_count_in_request: bool,
    /// Set `x-envoy-attempt-count` on responses.
    pub attempt_count_in_response: bool,
}

/// `VirtualHost.TlsRequirementType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RequireTls {
    /// No requirement.
    #[default]
    None,
    /// Requests from outside are redirected to https.
    ExternalOnly,
    /// All requests are redirected to https.
    All,
}

/// One route.
#[derive(Debug)]
pub struct Route {
    /// Its name; empty if it has none.
    pub name: Arc<str>,
    /// What a request must look like.
    pub matches: RouteMatch,
    /// What is done with it.
    pub action: Action,
    /// Header operations of all levels, in the order in which they run.
    pub headers: Vec<Arc<HeaderOps>>,
    /// `typed_per_filter_config` of all levels, merged.
    pub overrides: Arc<FilterOverrides>,
    /// How much of a body is kept for retries and mirrors, in bytes.
    pub buffer_limit: Option<u32>,
}

/// `RouteMatch`.
#[derive(Debug)]
pub struct RouteMatch {
    /// The path.
    pub path: PathMatch,
    /// All of these headers.
    pub headers: Vec<HeaderMatcher>,
    /// All of these query parameters.
    pub query: Vec<QueryMatcher>,
    /// All of these in the dynamic metadata: what filters said before the route is looked up again.
    pub metadata: Vec<MetadataMatcher>,
    /// Only gRPC requests.
    pub grpc: bool,
    /// Only this share of the requests.
    pub fraction: Option<Fraction>,
    /// Whether the client presented (true) or lacks (false) a certificate.
    pub client_certificate_presented: Option<bool>,
    /// Whether that certificate was validated.
    pub client_certificate_validated: Option<bool>,
}

/// How a route matches `:path`.
#[derive(Debug)]
pub enum PathMatch {
    /// `prefix`, on path and query.
    Prefix(StringMatcher, Box<str>),
    /// `path`, on the path without the query.
    Exact(StringMatcher, Box<str>),
    /// `safe_regex`, on the path without the query.
    Regex(Regex),
    /// `path_separated_prefix`, on whole segments of the path without the query.
    Segments(StringMatcher, Box<str>),
    /// `connect_matcher`: CONNECT requests.
    Connect,
}

/// What a route does.
#[derive(Debug)]
pub enum Action {
    /// `route`.
    Forward(Box<Forward>),
    /// `redirect`.
    Redirect(Box<Redirect>),
    /// `direct_response`.
    Direct(Box<DirectResponse>),
    /// `non_forwarding_action`: for gRPC servers, not for a proxy.
    NonForwarding,
}

/// `RouteAction`.
#[derive(Debug)]
pub struct Forward {
    /// Where to.
    pub cluster: ClusterSpecifier,
    /// The status if the cluster does not exist.
    pub cluster_not_found_status: http::StatusCode,
    /// The path upstream.
    pub path: PathRewrite,
    /// The authority upstream.
    pub host: HostRewrite,
    /// Set `x-forwarded-host` to the authority that the rewrite replaced.
    pub append_forwarded_host: bool,
    /// The limit of the whole exchange, retries included; `None` is unlimited.
    pub timeout: Option<Duration>,
    /// `idle_timeout`: `Some(None)` switches the connection manager's off.
    pub idle_timeout: Option<Option<Duration>>,
    /// `max_stream_duration`.
    pub max_stream_duration: Option<MaxStreamDuration>,
    /// What is tried again, and how; `None` never.
    pub retry: Option<Arc<RetryPolicy>>,
    /// Copies sent elsewhere.
    pub mirrors: Vec<Mirror>,
    /// What the hash of consistent load balancers is made of.
    pub hash: Vec<HashPolicy>,
    /// Whose circuit breakers count.
    pub priority: RoutingPriority,
    /// `metadata_match`: the subset of endpoints, under `envoy.lb`.
    pub metadata_match: Option<Arc<Struct>>,
    /// `upgrade_configs`: per type, whether it may pass; overrides the connection manager's.
    pub upgrades: Vec<(Box<str>, bool)>,
}

/// `RouteAction.MaxStreamDuration`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaxStreamDuration {
    /// `max_stream_duration`; `None` is unlimited.
    pub limit: Option<Duration>,
    /// `grpc_timeout_header_max`: the client's `grpc-timeout` counts, up to this; zero is no bound.
    pub grpc_header_max: Option<Duration>,
    /// `grpc_timeout_header_offset`: subtracted from the client's.
    pub grpc_header_offset: Duration,
}

/// Where a request goes.
#[derive(Debug)]
pub enum ClusterSpecifier {
    /// One cluster.
    Cluster(ClusterRef),
    /// One of several, by weight.
    Weighted(WeightedClusters),
    /// The cluster named by a header.
    Header(HeaderName),
}

/// A cluster by slot and name.
#[derive(Debug, Clone)]
pub struct ClusterRef {
    /// Its slot.
    pub id: ClusterId,
    /// Its name.
    pub name: Arc<str>,
}

/// `WeightedCluster`.
#[derive(Debug)]
pub struct WeightedClusters {
    /// The alternatives.
    pub clusters: Vec<WeightedCluster>,
    /// The sum of the weights; not zero.
    pub total: u64,
}

/// One alternative.
#[derive(Debug)]
pub struct WeightedCluster {
    /// Where to.
    pub cluster: ClusterRef,
    /// Its share of the total.
    pub weight: u32,
    /// Header operations of all levels, this one's first; replaces the route's.
    pub headers: Vec<Arc<HeaderOps>>,
    /// Filter overrides, this level's included; replaces the route's.
    pub overrides: Arc<FilterOverrides>,
    /// The authority upstream, if this alternative sets it.
    pub host: Option<HostRewrite>,
    /// The subset, if this alternative sets one: merged over the route's.
    pub metadata_match: Option<Arc<Struct>>,
}

/// What happens to `:path`.
#[derive(Debug)]
pub enum PathRewrite {
    /// Nothing.
    None,
    /// `prefix_rewrite`: replaces what the route matched.
    Prefix(Box<str>),
    /// `regex_rewrite`: on the path without the query.
    Regex(RegexRewrite),
}

/// `RegexMatchAndSubstitute`.
#[derive(Debug, Clone)]
pub struct RegexRewrite {
    /// What is replaced, everywhere.
    pub pattern: Regex,
    /// By what; `${1}` is the first group, `$$` a dollar.
    pub substitution: Box<str>,
}

/// What happens to `:authority`.
#[derive(Debug)]
pub enum HostRewrite {
    /// Nothing.
    None,
    /// `host_rewrite_literal`.
    Literal(HeaderValue),
    /// `auto_host_rewrite`: the endpoint's host name.
    Auto,
    /// `host_rewrite_header`.
    Header(HeaderName),
    /// `host_rewrite_path_regex`.
    PathRegex(RegexRewrite),
}

/// `RequestMirrorPolicy`.
#[derive(Debug)]
pub struct Mirror {
    /// Where to.
    pub cluster: ClusterRef,
    /// What share of the requests.
    pub fraction: Fraction,
    /// Append `-shadow` to the authority.
    pub shadow_suffix: bool,
}

/// `RouteAction.HashPolicy`.
#[derive(Debug)]
pub struct HashPolicy {
    /// What is hashed.
    pub source: HashSource,
    /// Stop here if there is a hash already.
    pub terminal: bool,
}

/// What a hash is made of.
#[derive(Debug)]
pub enum HashSource {
    /// A header, after an optional rewrite.
    Header(crate::request::HeaderKey, Option<RegexRewrite>),
    /// A cookie; made up and set if a lifetime is given and the client has none.
    Cookie {
        /// Its name.
        name: Box<str>,
        /// Its lifetime if the proxy makes it up; zero is a session cookie.
        ttl: Option<Duration>,
        /// `Path`.
        path: Box<str>,
        /// Further attributes.
        attributes: Vec<(Box<str>, Box<str>)>,
    },
    /// The client's address.
    SourceIp,
    /// A query parameter.
    Query(Box<str>),
}

/// `RedirectAction`.
#[derive(Debug)]
pub struct Redirect {
    /// The status.
    pub status: http::StatusCode,
    /// The scheme.
    pub scheme: RedirectScheme,
    /// The host; `None` keeps it.
    pub host: Option<Box<str>>,
    /// The port; `None` keeps it.
    pub port: Option<u16>,
    /// The path.
    pub path: RedirectPath,
    /// Drop the query.
    pub strip_query: bool,
}

/// How a redirect changes the scheme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedirectScheme {
    /// Not.
    Keep,
    /// `https_redirect`.
    Https,
    /// `scheme_redirect`.
    To(Box<str>),
}

/// How a redirect changes the path.
#[derive(Debug)]
pub enum RedirectPath {
    /// Not.
    Keep,
    /// `path_redirect`: the whole path.
    Replace(Box<str>),
    /// `prefix_rewrite`.
    Prefix(Box<str>),
    /// `regex_rewrite`.
    Regex(RegexRewrite),
}

/// `DirectResponseAction`.
#[derive(Debug)]
pub struct DirectResponse {
    /// The status.
    pub status: http::StatusCode,
    /// The body.
    pub body: bytes::Bytes,
}
