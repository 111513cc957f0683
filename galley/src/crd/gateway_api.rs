//! `GatewayClass`, `Gateway`, the routes and `ReferenceGrant` of the Kubernetes Gateway API,
//! gateway.networking.k8s.io. Its reference documents the fields.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::wire;
use crate::decode::jsonpb::GoDuration;

wire! {
    GatewayClass {
        controller_name: String,
        description: Option<String>,
        parameters_ref: Option<Json>,
    }

    Gateway {
        gateway_class_name: String,
        listeners: Vec<Listener>,
        addresses: Vec<Address>,
        infrastructure: Option<Infrastructure>,
        allowed_listeners: Option<Json>,
        tls: Option<Json>,
        default_scope: Option<Json>,
    }

    Listener {
        name: String,
        hostname: Option<String>,
        port: u32,
        protocol: String,
        tls: Option<ListenerTls>,
        allowed_routes: Option<AllowedRoutes>,
    }

    ListenerTls {
        mode: Option<String>,
        certificate_refs: Vec<ObjectRef>,
        frontend_validation: Option<Json>,
        options: BTreeMap<String, String>,
    }

    AllowedRoutes {
        namespaces: Option<RouteNamespaces>,
        kinds: Vec<RouteKind>,
    }

    RouteNamespaces {
        from: Option<String>,
        selector: Option<Selector>,
    }

    Selector {
        match_labels: BTreeMap<String, String>,
        match_expressions: Vec<Requirement>,
    }

    Requirement {
        key: String,
        operator: String,
        values: Vec<String>,
    }

    RouteKind {
        group: Option<String>,
        kind: String,
    }

    Address {
        r#type: Option<String>,
        value: Option<String>,
    }

    Infrastructure {
        labels: BTreeMap<String, String>,
        annotations: BTreeMap<String, String>,
        parameters_ref: Option<Json>,
    }

    /// A reference to an object; which fields may be set depends on the place.
    ObjectRef {
        group: Option<String>,
        kind: Option<String>,
        namespace: Option<String>,
        name: String,
        section_name: Option<String>,
        port: Option<u32>,
    }

    HttpRoute {
        parent_refs: Vec<ObjectRef>,
        hostnames: Vec<String>,
        rules: Vec<HttpRule>,
        use_default_gateways: Option<Json>,
    }

    HttpRule {
        name: Option<String>,
        matches: Vec<HttpMatch>,
        filters: Vec<HttpFilter>,
        backend_refs: Vec<BackendRef>,
        timeouts: Option<Timeouts>,
        retry: Option<Retry>,
        session_persistence: Option<Json>,
    }

    GrpcRoute {
        parent_refs: Vec<ObjectRef>,
        hostnames: Vec<String>,
        rules: Vec<GrpcRule>,
        use_default_gateways: Option<Json>,
    }

    GrpcRule {
        name: Option<String>,
        matches: Vec<GrpcMatch>,
        filters: Vec<GrpcFilter>,
        backend_refs: Vec<GrpcBackendRef>,
        session_persistence: Option<Json>,
    }

    GrpcMatch {
        method: Option<MethodMatch>,
        headers: Vec<NamedMatch>,
    }

    MethodMatch {
        r#type: Option<String>,
        service: Option<String>,
        method: Option<String>,
    }

    GrpcFilter {
        r#type: String,
        request_header_modifier: Option<HeaderModifier>,
        response_header_modifier: Option<HeaderModifier>,
        request_mirror: Option<RequestMirror>,
        extension_ref: Option<Json>,
    }

    GrpcBackendRef {
        group: Option<String>,
        kind: Option<String>,
        namespace: Option<String>,
        name: String,
        port: Option<u32>,
        weight: Option<u32>,
        filters: Vec<GrpcFilter>,
    }

    TlsRoute {
        parent_refs: Vec<ObjectRef>,
        hostnames: Vec<String>,
        rules: Vec<L4Rule>,
        use_default_gateways: Option<Json>,
    }

    TcpRoute {
        parent_refs: Vec<ObjectRef>,
        rules: Vec<L4Rule>,
        use_default_gateways: Option<Json>,
    }

    L4Rule {
        name: Option<String>,
        backend_refs: Vec<L4BackendRef>,
    }

    L4BackendRef {
        group: Option<String>,
        kind: Option<String>,
        namespace: Option<String>,
        name: String,
        port: Option<u32>,
        weight: Option<u32>,
    }

    Timeouts {
        request: Option<GoDuration>,
        backend_request: Option<GoDuration>,
    }

    Retry {
        codes: Vec<u32>,
        attempts: Option<u32>,
        backoff: Option<GoDuration>,
    }

    HttpMatch {
        path: Option<PathMatch>,
        headers: Vec<NamedMatch>,
        query_params: Vec<NamedMatch>,
        method: Option<String>,
    }

    PathMatch {
        r#type: Option<String>,
        value: Option<String>,
    }

    NamedMatch {
        r#type: Option<String>,
        name: String,
        value: String,
    }

    BackendRef {
        group: Option<String>,
        kind: Option<String>,
        namespace: Option<String>,
        name: String,
        port: Option<u32>,
        weight: Option<u32>,
        filters: Vec<HttpFilter>,
    }

    HttpFilter {
        r#type: String,
        request_header_modifier: Option<HeaderModifier>,
        response_header_modifier: Option<HeaderModifier>,
        request_mirror: Option<RequestMirror>,
        request_redirect: Option<RequestRedirect>,
        #[serde(rename = "urlRewrite")]
        url_rewrite: Option<UrlRewrite>,
        cors: Option<Cors>,
        extension_ref: Option<Json>,
        external_auth: Option<Json>,
    }

    Cors {
        allow_origins: Vec<String>,
        allow_credentials: Option<bool>,
        allow_methods: Vec<String>,
        allow_headers: Vec<String>,
        expose_headers: Vec<String>,
        max_age: Option<u32>,
    }

    HeaderModifier {
        set: Vec<Header>,
        add: Vec<Header>,
        remove: Vec<String>,
    }

    Header {
        name: String,
        value: String,
    }

    RequestMirror {
        backend_ref: BackendRef,
        percent: Option<u32>,
        fraction: Option<Fraction>,
    }

    Fraction {
        numerator: u32,
        denominator: Option<u32>,
    }

    RequestRedirect {
        scheme: Option<String>,
        hostname: Option<String>,
        path: Option<PathModifier>,
        port: Option<u32>,
        status_code: Option<u32>,
    }

    UrlRewrite {
        hostname: Option<String>,
        path: Option<PathModifier>,
    }

    PathModifier {
        r#type: String,
        replace_full_path: Option<String>,
        replace_prefix_match: Option<String>,
    }

    ReferenceGrant {
        from: Vec<ObjectRef>,
        to: Vec<ObjectRef>,
    }
}
