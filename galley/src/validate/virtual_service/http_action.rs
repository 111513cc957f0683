//! One `http[]` rule: which actions go together, and each action's own rules.

use super::http_match::{self, header_map};
use super::http_policy;
use super::{destination, weights};
use crate::crd::virtual_service::{
    Body, Delegate, DirectResponse, HeaderOperations, Headers, HttpRoute, Mirror, Redirect, Rewrite,
};
use crate::manifest::path::FieldPath;
use crate::validate::{Findings, operators, rules};

/// Larger bodies are refused; Istio's limit.
const BODY_BYTES_MAX: usize = 1 << 20;
const BODY_BYTES_WARN: usize = 100 << 10;

pub(super) fn validate(
    route: &HttpRoute,
    in_delegate: bool,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) {
    action(route, in_delegate, path, findings);
    for (index, m) in route.r#match.iter().enumerate() {
        http_match::validate(m, &path.field("match").index(index), findings);
    }
    let destinations = path.field("route");
    for (index, target) in route.route.iter().enumerate() {
        let at = destinations.index(index);
        destination(target.destination.as_ref(), &at, findings);
        headers(target.headers.as_ref(), &at, findings);
    }
    weights(
        &route.route.iter().map(|r| r.weight).collect::<Vec<_>>(),
        &destinations,
        findings,
    );
    if let Some(redirect_) = &route.redirect {
        redirect(redirect_, route, &path.field("redirect"), findings);
    }
    if let Some(response) = &route.direct_response {
        direct_response(response, &path.field("directResponse"), findings);
    }
    if let Some(rewrite_) = &route.rewrite {
        rewrite(rewrite_, &path.field("rewrite"), findings);
    }
    mirrors(route, path, findings);
    headers(route.headers.as_ref(), path, findings);
    http_policy::validate(route, path, findings);
}

/// `route`, `redirect`, `directResponse` and `delegate` exclude each other, and
/// some policies make sense with a route only.
fn action(route: &HttpRoute, in_delegate: bool, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    let set = [
        ("route", !route.route.is_empty()),
        ("redirect", route.redirect.is_some()),
        ("directResponse", route.direct_response.is_some()),
        ("delegate", route.delegate.is_some()),
    ];
    match rules::at_most_one(&set, path, findings) {
        0 => findings
            .error(
                path,
                "the rule does nothing: a route, redirect, direct response or delegate is required",
            )
            .suggest("add route: [{destination: {host: NAME}}]"),
        1 => {}
        _ => return,
    }
    let answers = route.redirect.is_some() || route.direct_response.is_some();
    let action = if route.redirect.is_some() {
        "redirect"
    } else {
        "directResponse"
    };
    if answers && route.fault.is_some() {
        let message = format!("a fault cannot be injected into a {action}");
        findings.error(&path.field("fault"), message);
    }
    if answers && route.rewrite.is_some() {
        let message = format!("a rewrite has no effect on a {action}");
        findings.error(&path.field("rewrite"), message);
    }
    if let Some(delegate_) = &route.delegate {
        delegate(delegate_, in_delegate, &path.field("delegate"), findings);
    }
}

fn delegate(
    delegate: &Delegate,
    in_delegate: bool,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) {
    if in_delegate {
        findings
            .error(path, "a delegate cannot delegate further")
            .suggest("only a virtual service with hosts may use \"delegate\"");
    }
    if delegate.name.is_empty() {
        findings.error(&path.field("name"), "the name of the delegate is required");
    }
    if !delegate.namespace.is_empty() && !rules::is_dns_label(&delegate.namespace) {
        let message = format!("\"{}\" is not a namespace", delegate.namespace);
        findings.error(&path.field("namespace"), message);
    }
}

fn redirect(
    redirect: &Redirect,
    route: &HttpRoute,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) {
    let empty = redirect.uri.is_empty()
        && redirect.prefix_rewrite.is_empty()
        && redirect.authority.is_empty()
        && redirect.scheme.is_empty()
        && redirect.port.is_none()
        && redirect.derive_port.is_none()
        && redirect.redirect_code == 0;
    if empty {
        findings
            .error(path, "the redirect changes nothing")
            .suggest("set uri, authority, scheme or port");
    }
    let paths = [
        ("uri", !redirect.uri.is_empty()),
        ("prefixRewrite", !redirect.prefix_rewrite.is_empty()),
    ];
    rules::at_most_one(&paths, path, findings);
    let ports = [
        ("port", redirect.port.is_some()),
        ("derivePort", redirect.derive_port.is_some()),
    ];
    rules::at_most_one(&ports, path, findings);
    let all_prefix = !route.r#match.is_empty()
        && route
            .r#match
            .iter()
            .all(|m| m.uri.as_ref().is_some_and(|uri| uri.prefix.is_some()));
    if !redirect.prefix_rewrite.is_empty() && !all_prefix {
        findings
            .error(
                &path.field("prefixRewrite"),
                "there is no prefix to replace",
            )
            .suggest("give every match of the rule a uri.prefix");
    }
    if let Some(port) = redirect.port {
        rules::port(port, &path.field("port"), findings);
    }
    if !["", "http", "https"].contains(&redirect.scheme.as_str()) {
        let message = format!("scheme \"{}\" is neither http nor https", redirect.scheme);
        findings.error(&path.field("scheme"), message);
    }
    if ![0, 301, 302, 303, 307, 308].contains(&redirect.redirect_code) {
        let message = format!("{} is not a redirect code", redirect.redirect_code);
        findings
            .error(&path.field("redirectCode"), message)
            .suggest("write 301, 302, 303, 307 or 308");
    }
}

fn direct_response(response: &DirectResponse, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    if !(200..=599).contains(&response.status) {
        let message = format!("status {} is not between 200 and 599", response.status);
        findings.error(&path.field("status"), message);
    }
    let Some(body) = &response.body else {
        return;
    };
    let path = path.field("body");
    let length = match body {
        Body {
            string: Some(_),
            bytes: Some(_),
        } => {
            findings.error(&path, "only one of \"string\", \"bytes\" may be set");
            0
        }
        Body {
            string: Some(text), ..
        } => text.len(),
        Body {
            bytes: Some(bytes), ..
        } => bytes.0.len(),
        Body { .. } => 0,
    };
    if length > BODY_BYTES_MAX {
        findings.error(
            &path,
            format!("the body of {length} bytes is larger than 1 MiB"),
        );
    } else if length > BODY_BYTES_WARN {
        findings.warn(
            &path,
            format!("every proxy holds this body of {length} bytes"),
        );
    }
}

fn rewrite(rewrite: &Rewrite, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    let paths = [
        ("uri", !rewrite.uri.is_empty()),
        ("uriRegexRewrite", rewrite.uri_regex_rewrite.is_some()),
    ];
    if rules::at_most_one(&paths, path, findings) == 0 && rewrite.authority.is_empty() {
        findings
            .error(path, "the rewrite changes nothing")
            .suggest("set uri or authority");
    }
    if let Some(by_regex) = &rewrite.uri_regex_rewrite {
        let path = path.field("uriRegexRewrite");
        if by_regex.r#match.is_empty() {
            findings.error(&path.field("match"), "the expression is empty");
        } else {
            rules::regex(&by_regex.r#match, &path.field("match"), findings);
        }
    }
}

fn mirrors(route: &HttpRoute, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    let set = [
        ("mirror", route.mirror.is_some()),
        ("mirrors", !route.mirrors.is_empty()),
    ];
    rules::at_most_one(&set, path, findings);
    if let Some(mirror) = &route.mirror {
        let single = Mirror {
            destination: Some(mirror.clone()),
            percentage: None,
        };
        // The fields stand one level up here, so only their content is checked.
        mirror_destination(&single, &path.field("mirror"), findings);
    }
    for (index, mirror) in route.mirrors.iter().enumerate() {
        let list = path.field("mirrors");
        let at = list.index(index);
        destination(mirror.destination.as_ref(), &at, findings);
        if let Some(percentage) = &mirror.percentage {
            rules::percent(
                percentage.value,
                &at.field("percentage").field("value"),
                findings,
            );
        }
    }
    if let Some(percentage) = &route.mirror_percentage {
        rules::percent(
            percentage.value,
            &path.field("mirrorPercentage").field("value"),
            findings,
        );
    }
    if let Some(percent) = route.mirror_percent {
        let at = path.field("mirrorPercent");
        findings.deprecated(&at, "mirrorPercentage: {value: N}");
        rules::percent(f64::from(percent), &at, findings);
    }
}

/// `mirror` is a bare destination, without the `destination` level.
fn mirror_destination(mirror: &Mirror, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    let Some(target) = &mirror.destination else {
        return;
    };
    if target.host.is_empty() {
        findings.error(&path.field("host"), "the host of the mirror is required");
    } else {
        rules::host(&target.host, &path.field("host"), findings);
    }
    if let Some(port) = &target.port {
        rules::port(port.number, &path.field("port").field("number"), findings);
    }
}

pub(super) fn headers(
    headers: Option<&Headers>,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) {
    let Some(headers) = headers else {
        return;
    };
    let path = path.field("headers");
    if let Some(request) = &headers.request {
        operations(request, true, &path.field("request"), findings);
    }
    if let Some(response) = &headers.response {
        operations(response, false, &path.field("response"), findings);
    }
}

fn operations(
    operations: &HeaderOperations,
    request: bool,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) {
    header_map(
        operations.set.keys(),
        request,
        true,
        &path.field("set"),
        findings,
    );
    header_map(
        operations.add.keys(),
        request,
        false,
        &path.field("add"),
        findings,
    );
    for (field, values) in [("set", &operations.set), ("add", &operations.add)] {
        for (name, value) in values {
            if let Some(message) = operators::header_fault(value) {
                findings.refuse_unsupported(&path.field(field).field(name), &message);
            }
        }
    }
    for (index, name) in operations.remove.iter().enumerate() {
        if !rules::is_header_name(name) {
            findings.error(
                &path.field("remove").index(index),
                format!("\"{name}\" is not a header name"),
            );
        }
    }
}
