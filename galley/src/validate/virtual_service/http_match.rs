//! Match conditions of HTTP rules.

use super::gateways;
use crate::crd::virtual_service::{HttpMatch, StringMatch};
use crate::manifest::path::FieldPath;
use crate::validate::{Findings, rules};

pub(super) fn validate(m: &HttpMatch, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    for (name, matcher) in [
        ("uri", &m.uri),
        ("scheme", &m.scheme),
        ("method", &m.method),
        ("authority", &m.authority),
    ] {
        if let Some(matcher) = matcher {
            string_match(matcher, false, &path.field(name), findings);
        }
    }
    for (field, headers) in [
        ("headers", &m.headers),
        ("withoutHeaders", &m.without_headers),
    ] {
        let path = path.field(field);
        for (name, matcher) in headers {
            let at = path.field(name);
            header_name(name, &at, findings);
            string_match(matcher, true, &at, findings);
        }
    }
    for (name, matcher) in &m.query_params {
        let query = path.field("queryParams");
        let at = query.field(name);
        if name.is_empty() {
            findings.error(&at, "the name of a query parameter is empty");
        }
        string_match(matcher, true, &at, findings);
    }
    if m.port != 0 {
        rules::port(m.port, &path.field("port"), findings);
    }
    rules::labels(&m.source_labels, &path.field("sourceLabels"), findings);
    if !m.source_namespace.is_empty() && !rules::is_dns_label(&m.source_namespace) {
        let message = format!("\"{}\" is not a namespace", m.source_namespace);
        findings.error(&path.field("sourceNamespace"), message);
    }
    gateways(&m.gateways, &path.field("gateways"), findings);
}

/// `presence`: a matcher without condition means that the value is there.
pub(super) fn string_match(
    matcher: &StringMatch,
    presence: bool,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) {
    let set = [
        ("exact", matcher.exact.is_some()),
        ("prefix", matcher.prefix.is_some()),
        ("regex", matcher.regex.is_some()),
    ];
    if rules::at_most_one(&set, path, findings) == 0 && !presence {
        findings
            .error(path, "the matcher has no condition")
            .suggest("write exact, prefix or regex");
    }
    if matcher.prefix.as_deref() == Some("") {
        findings.error(&path.field("prefix"), "the prefix is empty");
    }
    match matcher.regex.as_deref() {
        Some("") => {
            findings.error(&path.field("regex"), "the expression is empty");
        }
        // Istio reads a lone star as "any value".
        Some("*") if presence => {}
        Some(pattern) => rules::regex(pattern, &path.field("regex"), findings),
        None => {}
    }
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

/// Names in `set` and `add`; only `set` on a request may replace the authority.
pub(super) fn header_map<'a>(
    names: impl Iterator<Item = &'a String>,
    request: bool,
    overwrites: bool,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) {
    let mut authority = 0;
    for name in names {
        let at = path.field(name);
        let is_authority = name.eq_ignore_ascii_case("host") || name == ":authority";
        authority += usize::from(is_authority);
        if is_authority && !(request && overwrites) {
            findings.error(
                &at,
                format!("\"{name}\" can only be set, and only on requests"),
            );
        } else if !is_authority && !rules::is_header_name(name) {
            findings.error(&at, format!("\"{name}\" is not a header name"));
        }
    }
    if authority > 1 {
        findings.error(path, "the authority is set twice");
    }
}
