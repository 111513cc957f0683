//! `VirtualService`, networking.istio.io.

use std::collections::BTreeMap;

use super::{Percent, PortSelector, wire};
use crate::decode::jsonpb::{Base64, GoDuration, wire_enum};
use crate::kinds::definition::constraint::at_most_one;

wire! {
    VirtualService {
        /// The names that the routes are for
        hosts: Vec<String>,
        /// The gateways that apply the routes; "mesh" means all sidecars
        gateways: Vec<String>,
        /// Routes for HTTP, the first match wins
        http: Vec<HttpRoute>,
        /// Routes for TLS that is not ended here
        tls: Vec<TlsRoute>,
        /// Routes for TCP
        tcp: Vec<TcpRoute>,
        /// Namespaces that see this, "." for its own, "*" for all
        export_to: Vec<String>,
    }

    HttpRoute {
        /// A name for logs
        name: String,
        /// Requests of which one description fits; all without any
        r#match: Vec<HttpMatch>,
        /// Where requests go, by weight
        route: Vec<HttpRouteDestination>,
        /// Answer with a redirect
        redirect: Option<Redirect>,
        /// Answer with a fixed response
        direct_response: Option<DirectResponse>,
        /// Go on with the routes of another VirtualService
        delegate: Option<Delegate>,
        /// Change path or authority before forwarding
        rewrite: Option<Rewrite>,
        /// Limit for the whole request, retries included
        timeout: Option<GoDuration>,
        /// When and how often a failed request is tried again
        retries: Option<Retry>,
        /// Delays and failures to inject
        fault: Option<Fault>,
        /// Where copies of requests go
        mirror: Option<Destination>,
        /// Deprecated: use mirrorPercentage
        mirror_percent: Option<u32>,
        /// Share of requests that are copied
        mirror_percentage: Option<Percent>,
        /// Where copies of requests go
        mirrors: Vec<Mirror>,
        /// Cross-origin requests
        cors_policy: Option<CorsPolicy>,
        /// Changes to headers for all destinations
        headers: Option<Headers>,
    }

    Delegate {
        name: String,
        namespace: String,
    }

    HttpMatch {
        name: String,
        /// The path, without the query
        uri: Option<StringMatch>,
        scheme: Option<StringMatch>,
        method: Option<StringMatch>,
        authority: Option<StringMatch>,
        /// Headers by lower-case name
        headers: BTreeMap<String, StringMatch>,
        /// Headers that must not fit
        without_headers: BTreeMap<String, StringMatch>,
        /// Parameters of the query
        query_params: BTreeMap<String, StringMatch>,
        /// Whether case matters in the path
        ignore_uri_case: bool,
        /// The port that was called
        port: u32,
        /// Labels of the calling workload
        source_labels: BTreeMap<String, String>,
        /// Namespace of the calling workload
        source_namespace: String,
        /// Gateways, instead of those of the whole
        gateways: Vec<String>,
        stat_prefix: String,
    }

    #[schemars(extend("oneOf" = at_most_one(&["exact", "prefix", "regex"])))]
    StringMatch {
        /// Equal
        exact: Option<String>,
        /// Beginning
        prefix: Option<String>,
        /// A regular expression (RE2) for the whole text
        regex: Option<String>,
    }

    #[schemars(extend("required" = ["destination"]))]
    HttpRouteDestination {
        /// The service
        destination: Option<Destination>,
        /// Share of requests, relative to the others
        weight: u32,
        /// Changes to headers for this destination
        headers: Option<Headers>,
    }

    #[schemars(extend("required" = ["destination"]))]
    RouteDestination {
        /// The service
        destination: Option<Destination>,
        /// Share of connections, relative to the others
        weight: u32,
    }

    #[schemars(extend("required" = ["host"]))]
    Destination {
        /// Name of the service
        host: String,
        /// A subset of its DestinationRule
        subset: String,
        /// Its port, if it has several
        port: Option<PortSelector>,
    }

    Headers {
        /// Of requests
        request: Option<HeaderOperations>,
        /// Of responses
        response: Option<HeaderOperations>,
    }

    HeaderOperations {
        /// Headers to write
        set: BTreeMap<String, String>,
        /// Headers to add
        add: BTreeMap<String, String>,
        /// Headers to take away
        remove: Vec<String>,
    }

    #[schemars(extend("oneOf" = at_most_one(&["port", "derivePort"])))]
    Redirect {
        /// Path to go to
        uri: String,
        prefix_rewrite: String,
        /// Authority to go to
        authority: String,
        port: Option<u32>,
        derive_port: Option<DerivePort>,
        scheme: String,
        /// Status of the answer, 301 by default
        redirect_code: u32,
    }

    #[schemars(extend("required" = ["status"]))]
    DirectResponse {
        /// Status of the answer
        status: u32,
        /// Content of the answer
        body: Option<Body>,
    }

    #[schemars(extend("oneOf" = at_most_one(&["string", "bytes"])))]
    Body {
        string: Option<String>,
        bytes: Option<Base64>,
    }

    Rewrite {
        /// The new path, or beginning of it
        uri: String,
        /// The new authority
        authority: String,
        /// Change of the path by a regular expression
        uri_regex_rewrite: Option<RegexRewrite>,
    }

    RegexRewrite {
        r#match: String,
        rewrite: String,
    }

    Retry {
        /// How often at most
        attempts: i32,
        /// Limit for each try
        per_try_timeout: Option<GoDuration>,
        /// Conditions and status codes, separated by commas
        retry_on: String,
        retry_remote_localities: Option<bool>,
        retry_ignore_previous_hosts: Option<bool>,
        /// Pause before the first retry
        backoff: Option<GoDuration>,
    }

    Fault {
        /// Wait before forwarding
        delay: Option<Delay>,
        /// Fail instead of forwarding
        abort: Option<Abort>,
    }

    #[schemars(extend("oneOf" = at_most_one(&["fixedDelay", "exponentialDelay"])))]
    Delay {
        percent: Option<u32>,
        /// Share of requests
        percentage: Option<Percent>,
        /// How long
        fixed_delay: Option<GoDuration>,
        exponential_delay: Option<GoDuration>,
    }

    #[schemars(extend("oneOf" = at_most_one(&["httpStatus", "grpcStatus", "http2Error"])))]
    Abort {
        /// Share of requests
        percentage: Option<Percent>,
        /// Status of the answer
        http_status: Option<i32>,
        /// gRPC status of the answer
        grpc_status: Option<String>,
        http2_error: Option<String>,
    }

    #[schemars(extend("required" = ["destination"]))]
    Mirror {
        destination: Option<Destination>,
        percentage: Option<Percent>,
    }

    CorsPolicy {
        allow_origin: Vec<String>,
        /// Origins that may call
        allow_origins: Vec<StringMatch>,
        /// Methods that may be used
        allow_methods: Vec<String>,
        /// Headers that may be sent
        allow_headers: Vec<String>,
        /// Headers that may be read
        expose_headers: Vec<String>,
        /// How long the answer may be kept
        max_age: Option<GoDuration>,
        /// Whether credentials may be sent
        allow_credentials: Option<bool>,
        unmatched_preflights: UnmatchedPreflights,
    }

    TlsRoute {
        r#match: Vec<TlsMatch>,
        route: Vec<RouteDestination>,
    }

    #[schemars(extend("required" = ["sniHosts"]))]
    TlsMatch {
        /// Server names that clients ask for
        sni_hosts: Vec<String>,
        destination_subnets: Vec<String>,
        port: u32,
        source_labels: BTreeMap<String, String>,
        gateways: Vec<String>,
        source_namespace: String,
    }

    TcpRoute {
        r#match: Vec<L4Match>,
        route: Vec<RouteDestination>,
    }

    L4Match {
        destination_subnets: Vec<String>,
        port: u32,
        source_subnet: String,
        source_labels: BTreeMap<String, String>,
        gateways: Vec<String>,
        source_namespace: String,
    }
}

wire_enum!(
    DerivePort {
        #[default]
        FromProtocolDefault = "FROM_PROTOCOL_DEFAULT" / 0,
        FromRequestPort = "FROM_REQUEST_PORT" / 1,
    }
);

wire_enum!(
    UnmatchedPreflights {
        #[default]
        Unspecified = "UNSPECIFIED" / 0,
        Forward = "FORWARD" / 1,
        Ignore = "IGNORE" / 2,
    }
);
