//! `http[]`: one rule of requests, its action and its policies.

use mesh_api::route::mirror::{Mirror, Percent};
use mesh_api::route::timeout::Timeout;
use mesh_api::route::{HttpAction, HttpRoute};

use super::cors::{self, WireCors};
use super::destination::{self, WireDestination, WireHttpDestination};
use super::fault::{self, WireFault};
use super::headers::{self, WireHeaders};
use super::http_match::{self, WireHttpMatch};
use super::redirect::{self, WireRedirect, WireResponse, WireRewrite};
use super::retry::{self, WireRetry};
use crate::decode::jsonpb::GoDuration;
use crate::kinds::findings::Findings;
use crate::kinds::rules::{self, each, some};
use crate::kinds::scope::Scope;
use crate::kinds::wire::{Percent as WirePercent, wire};
use crate::manifest::path::FieldPath;

wire! {
    WireHttpRoute {
        /// Name of the rule, for access logs.
        name: String,
        /// Matches, of which one must apply; each is a set of conditions, all of which must hold. By default every
        /// request matches.
        r#match: Vec<WireHttpMatch>,
        /// Services that receive the requests, by weight. Excludes redirect, directResponse and delegate.
        route: Vec<WireHttpDestination>,
        /// Responds with a redirect.
        redirect: Option<WireRedirect>,
        /// Responds with a fixed status and body.
        direct_response: Option<WireResponse>,
        /// Continues with the rules of another VirtualService, which has no hosts.
        delegate: Option<WireDelegate>,
        /// Changes of path and authority before requests are forwarded.
        rewrite: Option<WireRewrite>,
        /// Timeout of a request, retries included, at least 1ms; 0s (default) is no timeout.
        timeout: Option<GoDuration>,
        /// Retries of failed requests. By default meshConfig.defaultHttpRetryPolicy.
        retries: Option<WireRetry>,
        /// Faults that are injected, for tests.
        fault: Option<WireFault>,
        /// Service that receives copies of the requests; its responses are ignored. Excludes mirrors.
        mirror: Option<WireDestination>,
        /// Deprecated: use mirrorPercentage.
        mirror_percent: Option<u32>,
        /// Percentage of requests that mirror receives. 100 by default.
        mirror_percentage: Option<WirePercent>,
        /// Services that receive copies of the requests.
        mirrors: Vec<WireMirror>,
        /// Cross-origin resource sharing (CORS). By default the proxy leaves it to the service.
        cors_policy: Option<WireCors>,
        /// Changes to headers for all destinations.
        headers: Option<WireHeaders>,
    }

    WireDelegate {
        /// Name of the VirtualService.
        name: String,
        /// Namespace of the VirtualService. By default the same namespace.
        namespace: String,
    }

    #[schemars(extend("required" = ["destination"]))]
    WireMirror {
        /// Service that receives the copies.
        destination: Option<WireDestination>,
        /// Percentage of requests that are copied. 100 by default.
        percentage: Option<WirePercent>,
    }
}

/// `in_delegate`: the VirtualService has no hosts.
pub(super) fn read(
    wire: &WireHttpRoute,
    in_delegate: bool,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
    findings: &mut Findings<'_>,
) -> Option<HttpRoute> {
    combination(wire, in_delegate, path, findings);
    let list = path.field("match");
    let matches = each(&wire.r#match, &list, findings, |wire, at, findings| {
        http_match::read(wire, at, scope, findings)
    });
    let action = action(wire, path, scope, findings);
    let rewrite = wire.rewrite.as_ref();
    let rewrite = rewrite.map(|wire| redirect::rewrite(wire, &path.field("rewrite"), findings));
    let mirrors = mirrors(wire, path, scope, findings);
    let headers = headers::read(wire.headers.as_ref(), path, findings);
    rules::duration_or_zero(wire.timeout, &path.field("timeout"), findings);
    let retries = wire.retries.as_ref();
    let retries = retries.map(|wire| retry::read(wire, &path.field("retries"), findings));
    let fault = wire.fault.as_ref();
    let fault = fault.map(|wire| fault::read(wire, &path.field("fault"), findings));
    let cors = wire.cors_policy.as_ref();
    let cors = cors.map(|wire| cors::read(wire, &path.field("corsPolicy"), findings));
    Some(HttpRoute {
        name: wire.name.as_str().into(),
        origin: scope.origin(path),
        matches: matches?,
        action: action?,
        rewrite,
        timeout: match wire.timeout {
            Some(timeout) if !timeout.0.is_zero() => Timeout::After(timeout.0),
            _ => Timeout::Off,
        },
        retries,
        fault,
        mirrors: mirrors?,
        cors,
        headers,
    })
}

/// `route`, `redirect`, `directResponse` and `delegate` exclude each other, and
/// some policies make sense with a route only.
fn combination(
    wire: &WireHttpRoute,
    in_delegate: bool,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) {
    let set = [
        ("route", !wire.route.is_empty()),
        ("redirect", wire.redirect.is_some()),
        ("directResponse", wire.direct_response.is_some()),
        ("delegate", wire.delegate.is_some()),
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
    let action = match (&wire.redirect, &wire.direct_response) {
        (Some(_), _) => Some("redirect"),
        (_, Some(_)) => Some("directResponse"),
        _ => None,
    };
    if let Some(action) = action {
        if wire.fault.is_some() {
            let message = format!("a fault cannot be injected into a {action}");
            findings.error(&path.field("fault"), message);
        }
        if wire.rewrite.is_some() {
            let message = format!("a rewrite has no effect on a {action}");
            findings.error(&path.field("rewrite"), message);
        }
    }
    if let Some(wire) = &wire.delegate {
        delegate(wire, in_delegate, &path.field("delegate"), findings);
    }
}

fn delegate(
    wire: &WireDelegate,
    in_delegate: bool,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) {
    if in_delegate {
        findings
            .error(path, "a delegate cannot delegate further")
            .suggest("only a virtual service with hosts may use \"delegate\"");
    }
    if wire.name.is_empty() {
        findings.error(&path.field("name"), "the name of the delegate is required");
    }
    if !wire.namespace.is_empty() && !rules::is_dns_label(&wire.namespace) {
        let message = format!("\"{}\" is not a namespace", wire.namespace);
        findings.error(&path.field("namespace"), message);
    }
}

fn action(
    wire: &WireHttpRoute,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
    findings: &mut Findings<'_>,
) -> Option<HttpAction> {
    let destinations = destination::http_destinations(&wire.route, path, scope, findings);
    let redirect = wire.redirect.as_ref().map(|redirect| {
        let at = path.field("redirect");
        let redirect = redirect::read(redirect, &wire.r#match, &at, findings);
        redirect.map(HttpAction::Redirect)
    });
    let response = wire.direct_response.as_ref().map(|response| {
        let at = path.field("directResponse");
        let response = redirect::direct_response(response, &at, findings);
        response.map(HttpAction::DirectResponse)
    });
    let delegate = wire.delegate.as_ref().map(|delegate| {
        let namespace = some(&delegate.namespace);
        Some(HttpAction::Delegate {
            namespace: namespace.unwrap_or_else(|| scope.meta.key.namespace.clone()),
            name: delegate.name.as_str().into(),
        })
    });
    let other = redirect.or(response).or(delegate);
    other.unwrap_or_else(|| destinations.map(HttpAction::Route))
}

fn mirrors(
    wire: &WireHttpRoute,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
    findings: &mut Findings<'_>,
) -> Option<Vec<Mirror>> {
    let set = [
        ("mirror", wire.mirror.is_some()),
        ("mirrors", !wire.mirrors.is_empty()),
    ];
    rules::at_most_one(&set, path, findings);
    let single = wire.mirror.as_ref();
    let single =
        single.map(|wire| destination::mirror(wire, &path.field("mirror"), scope, findings));
    let list = path.field("mirrors");
    let several = each(&wire.mirrors, &list, findings, |wire, at, findings| {
        let destination = destination::required(wire.destination.as_ref(), at, scope, findings);
        let percentage = percentage(wire.percentage.as_ref(), &at.field("percentage"), findings);
        Some(Mirror {
            destination: destination?,
            percentage: percentage.unwrap_or(Percent::ALL),
        })
    });
    let at = path.field("mirrorPercentage");
    let of_single = percentage(wire.mirror_percentage.as_ref(), &at, findings);
    let deprecated = wire.mirror_percent.map(|percent| {
        let at = path.field("mirrorPercent");
        findings.deprecated(&at, "mirrorPercentage: {value: N}");
        let percent = f64::from(percent);
        rules::percent(percent, &at, findings);
        Percent::from_percent(percent).unwrap_or(Percent::ALL)
    });
    let mut mirrors = several?;
    if let Some(destination) = single {
        mirrors.push(Mirror {
            destination: destination?,
            percentage: of_single.or(deprecated).unwrap_or(Percent::ALL),
        });
    }
    Some(mirrors)
}

fn percentage(
    wire: Option<&WirePercent>,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<Percent> {
    let value = wire?.value;
    rules::percent(value, &path.field("value"), findings);
    Percent::from_percent(value)
}
