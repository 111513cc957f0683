//! Filters and backends of `HTTPRoute` and `GRPCRoute`, each of which may hold the other.

use serde_json::Value as Json;

use super::cors::WireCors;
use crate::kinds::wire::wire;

wire! {
    WireBackend {
        group: Option<String>,
        kind: Option<String>,
        namespace: Option<String>,
        name: String,
        port: Option<u32>,
        weight: Option<u32>,
        filters: Vec<WireFilter>,
    }

    WireFilter {
        r#type: String,
        request_header_modifier: Option<WireHeaderModifier>,
        response_header_modifier: Option<WireHeaderModifier>,
        request_mirror: Option<WireMirror>,
        request_redirect: Option<WireRedirect>,
        #[serde(rename = "urlRewrite")]
        url_rewrite: Option<WireUrlRewrite>,
        cors: Option<WireCors>,
        extension_ref: Option<Json>,
        external_auth: Option<Json>,
    }

    WireHeaderModifier {
        set: Vec<WireHeader>,
        add: Vec<WireHeader>,
        remove: Vec<String>,
    }

    WireHeader {
        name: String,
        value: String,
    }

    WireMirror {
        backend_ref: WireBackend,
        percent: Option<u32>,
        fraction: Option<WireFraction>,
    }

    WireFraction {
        numerator: u32,
        denominator: Option<u32>,
    }

    WireRedirect {
        scheme: Option<String>,
        hostname: Option<String>,
        path: Option<WirePathModifier>,
        port: Option<u32>,
        status_code: Option<u32>,
    }

    WireUrlRewrite {
        hostname: Option<String>,
        path: Option<WirePathModifier>,
    }

    WirePathModifier {
        r#type: String,
        replace_full_path: Option<String>,
        replace_prefix_match: Option<String>,
    }
}
