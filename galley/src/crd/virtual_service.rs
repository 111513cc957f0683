//! `VirtualService`, networking.istio.io.

use std::collections::BTreeMap;

use super::definition::constraint::at_most_one;
use super::{Percent, PortSelector, wire};
use crate::decode::jsonpb::{Base64, GoDuration, wire_enum};

wire! {
    VirtualService {
        hosts: Vec<String>,
        gateways: Vec<String>,
        http: Vec<HttpRoute>,
        tls: Vec<TlsRoute>,
        tcp: Vec<TcpRoute>,
        export_to: Vec<String>,
    }

    HttpRoute {
        name: String,
        r#match: Vec<HttpMatch>,
        route: Vec<HttpRouteDestination>,
        redirect: Option<Redirect>,
        direct_response: Option<DirectResponse>,
        delegate: Option<Delegate>,
        rewrite: Option<Rewrite>,
        timeout: Option<GoDuration>,
        retries: Option<Retry>,
        fault: Option<Fault>,
        mirror: Option<Destination>,
        mirror_percent: Option<u32>,
        mirror_percentage: Option<Percent>,
        mirrors: Vec<Mirror>,
        cors_policy: Option<CorsPolicy>,
        headers: Option<Headers>,
    }

    Delegate {
        name: String,
        namespace: String,
    }

    HttpMatch {
        name: String,
        uri: Option<StringMatch>,
        scheme: Option<StringMatch>,
        method: Option<StringMatch>,
        authority: Option<StringMatch>,
        headers: BTreeMap<String, StringMatch>,
        without_headers: BTreeMap<String, StringMatch>,
        query_params: BTreeMap<String, StringMatch>,
        ignore_uri_case: bool,
        port: u32,
        source_labels: BTreeMap<String, String>,
        source_namespace: String,
        gateways: Vec<String>,
        stat_prefix: String,
    }

    #[schemars(extend("oneOf" = at_most_one(&["exact", "prefix", "regex"])))]
    StringMatch {
        exact: Option<String>,
        prefix: Option<String>,
        regex: Option<String>,
    }

    #[schemars(extend("required" = ["destination"]))]
    HttpRouteDestination {
        destination: Option<Destination>,
        weight: u32,
        headers: Option<Headers>,
    }

    #[schemars(extend("required" = ["destination"]))]
    RouteDestination {
        destination: Option<Destination>,
        weight: u32,
    }

    #[schemars(extend("required" = ["host"]))]
    Destination {
        host: String,
        subset: String,
        port: Option<PortSelector>,
    }

    Headers {
        request: Option<HeaderOperations>,
        response: Option<HeaderOperations>,
    }

    HeaderOperations {
        set: BTreeMap<String, String>,
        add: BTreeMap<String, String>,
        remove: Vec<String>,
    }

    #[schemars(extend("oneOf" = at_most_one(&["port", "derivePort"])))]
    Redirect {
        uri: String,
        prefix_rewrite: String,
        authority: String,
        port: Option<u32>,
        derive_port: Option<DerivePort>,
        scheme: String,
        redirect_code: u32,
    }

    #[schemars(extend("required" = ["status"]))]
    DirectResponse {
        status: u32,
        body: Option<Body>,
    }

    #[schemars(extend("oneOf" = at_most_one(&["string", "bytes"])))]
    Body {
        string: Option<String>,
        bytes: Option<Base64>,
    }

    Rewrite {
        uri: String,
        authority: String,
        uri_regex_rewrite: Option<RegexRewrite>,
    }

    RegexRewrite {
        r#match: String,
        rewrite: String,
    }

    Retry {
        attempts: i32,
        per_try_timeout: Option<GoDuration>,
        retry_on: String,
        retry_remote_localities: Option<bool>,
        retry_ignore_previous_hosts: Option<bool>,
        backoff: Option<GoDuration>,
    }

    Fault {
        delay: Option<Delay>,
        abort: Option<Abort>,
    }

    #[schemars(extend("oneOf" = at_most_one(&["fixedDelay", "exponentialDelay"])))]
    Delay {
        percent: Option<u32>,
        percentage: Option<Percent>,
        fixed_delay: Option<GoDuration>,
        exponential_delay: Option<GoDuration>,
    }

    #[schemars(extend("oneOf" = at_most_one(&["httpStatus", "grpcStatus", "http2Error"])))]
    Abort {
        percentage: Option<Percent>,
        http_status: Option<i32>,
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
        allow_origins: Vec<StringMatch>,
        allow_methods: Vec<String>,
        allow_headers: Vec<String>,
        expose_headers: Vec<String>,
        max_age: Option<GoDuration>,
        allow_credentials: Option<bool>,
        unmatched_preflights: UnmatchedPreflights,
    }

    TlsRoute {
        r#match: Vec<TlsMatch>,
        route: Vec<RouteDestination>,
    }

    #[schemars(extend("required" = ["sniHosts"]))]
    TlsMatch {
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
