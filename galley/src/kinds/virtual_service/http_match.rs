//! `http[].match[]`: which requests a rule applies to.

use std::collections::BTreeMap;

use mesh_api::route::Matchers;
use mesh_api::route::matcher::{HttpMatch, StringMatch};

use super::gateway_ref::gateways;
use super::string_match::{self, WireStringMatch};
use crate::kinds::findings::Findings;
use crate::kinds::rules::{self, some};
use crate::kinds::scope::Scope;
use crate::kinds::wire::wire;
use crate::manifest::path::FieldPath;

wire! {
    WireHttpMatch {
        /// Name of the match, for logs.
        name: String,
        /// Path of the request, without the query.
        uri: Option<WireStringMatch>,
        /// Scheme: http or https.
        scheme: Option<WireStringMatch>,
        /// Method, such as GET.
        method: Option<WireStringMatch>,
        /// Host header or :authority.
        authority: Option<WireStringMatch>,
        /// Headers by lower-case name, all of which must match. {} matches any value.
        headers: BTreeMap<String, WireStringMatch>,
        /// Headers by lower-case name, none of which may match. {} matches any value.
        without_headers: BTreeMap<String, WireStringMatch>,
        /// Query parameters by name, all of which must match. {} matches any value.
        query_params: BTreeMap<String, WireStringMatch>,
        /// True to ignore case in uri, for exact and prefix. False by default.
        ignore_uri_case: bool,
        /// Port that the client connected to, of the service or of the gateway.
        port: u32,
        /// Labels that the calling workload must have, all of them. Only for rules of sidecars.
        source_labels: BTreeMap<String, String>,
        /// Namespace that the calling workload must be in. Only for rules of sidecars.
        source_namespace: String,
        /// Gateways that apply the rule, instead of those of the VirtualService.
        gateways: Vec<String>,
        /// Prefix of the statistics of the route.
        stat_prefix: String,
    }
}

pub(super) fn read(
    wire: &WireHttpMatch,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
    findings: &mut Findings<'_>,
) -> Option<HttpMatch> {
    let mut text = |wire: &Option<WireStringMatch>, field: &str| {
        let wire = wire.as_ref()?;
        Some(string_match::read(
            wire,
            false,
            &path.field(field),
            findings,
        ))
    };
    let uri = text(&wire.uri, "uri");
    let scheme = text(&wire.scheme, "scheme");
    let method = text(&wire.method, "method");
    let authority = text(&wire.authority, "authority");
    let headers = headers(&wire.headers, &path.field("headers"), findings);
    let without = path.field("withoutHeaders");
    let without_headers = self::headers(&wire.without_headers, &without, findings);
    let parameters = path.field("queryParams");
    let query_params = matchers(
        &wire.query_params,
        &parameters,
        findings,
        |name, at, findings| {
            if name.is_empty() {
                findings.error(at, "the name of a query parameter is empty");
            }
        },
    );
    let port = rules::port_or_unset(wire.port, &path.field("port"), findings);
    let labels = path.field("sourceLabels");
    let source_labels = rules::labels(&wire.source_labels, &labels, findings);
    if !wire.source_namespace.is_empty() && !rules::is_dns_label(&wire.source_namespace) {
        let message = format!("\"{}\" is not a namespace", wire.source_namespace);
        findings.error(&path.field("sourceNamespace"), message);
    }
    let gateways = gateways(&wire.gateways, &path.field("gateways"), scope, findings);
    Some(HttpMatch {
        name: wire.name.as_str().into(),
        uri,
        ignore_uri_case: wire.ignore_uri_case,
        scheme,
        method,
        authority,
        headers,
        without_headers,
        query_params,
        port: port?,
        source_labels,
        source_namespace: some(&wire.source_namespace),
        gateways: gateways?,
        stat_prefix: some(&wire.stat_prefix),
    })
}

fn headers(
    wire: &BTreeMap<String, WireStringMatch>,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Matchers {
    matchers(wire, path, findings, header_name)
}

fn matchers(
    wire: &BTreeMap<String, WireStringMatch>,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
    check_name: impl Fn(&str, &FieldPath<'_>, &mut Findings<'_>),
) -> Matchers {
    let mut read = |name: &str, wire| -> StringMatch {
        let at = path.field(name);
        check_name(name, &at, findings);
        string_match::read(wire, true, &at, findings)
    };
    wire.iter()
        .map(|(name, wire)| (name.as_str().into(), read(name, wire)))
        .collect()
}

fn header_name(name: &str, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    if name.starts_with("@request.auth.claims") {
        findings.refuse_unsupported(path, "routing by claims of a token is not supported yet");
    } else if name.starts_with(':') {
        findings
            .error(
                path,
                format!("pseudo header \"{name}\" cannot be matched here"),
            )
            .suggest("use uri, method, scheme or authority");
    } else if name.chars().any(|c| c.is_ascii_uppercase()) {
        findings
            .error(path, format!("header name \"{name}\" must be lower case"))
            .suggest(format!("write \"{}\"", name.to_ascii_lowercase()));
    } else if !rules::is_header_name(name) {
        findings.error(path, format!("\"{name}\" is not a header name"));
    }
}
