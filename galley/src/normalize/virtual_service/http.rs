//! HTTP rules: actions and policies.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use mesh_api::route::cors::CorsPolicy;
use mesh_api::route::fault::{Abort, AbortStatus, Delay, Fault as InjectedFault};
use mesh_api::route::headers::{HeaderEdit, HeaderOperations};
use mesh_api::route::matcher::StringMatch;
use mesh_api::route::mirror::{Mirror, Percent};
use mesh_api::route::redirect::{DirectResponse, Redirect, RedirectPath, RedirectPort, Scheme};
use mesh_api::route::retry::RetryPolicy;
use mesh_api::route::rewrite::{PathRewrite, Rewrite};
use mesh_api::route::timeout::Timeout;
use mesh_api::route::{HttpAction, HttpRoute, WeightedDestination};

use super::http_match::{http_match, string_match};
use super::{destination, each, weight};
use crate::crd::virtual_service as wire;
use crate::manifest::path::FieldPath;
use crate::normalize::{Fault, Scope, shared, some};

/// Conditions of a retry block that names none; the same as the mesh's default.
/// Source: Istio `retry.ConvertPolicy`.
fn default_conditions() -> Vec<Arc<str>> {
    RetryPolicy::mesh_default().retry_on
}

pub(super) fn route(
    route: &wire::HttpRoute,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
) -> Result<HttpRoute, Fault> {
    Ok(HttpRoute {
        name: route.name.as_str().into(),
        origin: scope.origin(path),
        matches: each(&route.r#match, &path.field("match"), |m, path| {
            http_match(m, path, scope)
        })?,
        action: action(route, path, scope)?,
        rewrite: route.rewrite.as_ref().map(rewrite),
        timeout: match route.timeout {
            Some(timeout) if !timeout.0.is_zero() => Timeout::After(timeout.0),
            _ => Timeout::Off,
        },
        retries: route.retries.as_ref().map(retries),
        fault: route
            .fault
            .as_ref()
            .map(|fault| injected_fault(fault, path, scope))
            .transpose()?,
        mirrors: mirrors(route, path, scope)?,
        cors: route.cors_policy.as_ref().map(cors),
        headers: headers(route.headers.as_ref()),
    })
}

fn action(
    route: &wire::HttpRoute,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
) -> Result<HttpAction, Fault> {
    if let Some(wire) = &route.redirect {
        return Ok(HttpAction::Redirect(redirect(wire, path, scope)?));
    }
    if let Some(wire) = &route.direct_response {
        return Ok(HttpAction::DirectResponse(direct_response(
            wire, path, scope,
        )?));
    }
    if let Some(delegate) = &route.delegate {
        let namespace = some(&delegate.namespace);
        return Ok(HttpAction::Delegate {
            namespace: namespace.unwrap_or_else(|| scope.meta.key.namespace.clone()),
            name: delegate.name.as_str().into(),
        });
    }
    let alone = route.route.len() == 1;
    let destinations = each(&route.route, &path.field("route"), |target, path| {
        Ok(WeightedDestination {
            destination: destination(
                target.destination.as_ref(),
                &path.field("destination"),
                scope,
            )?,
            weight: weight(target.weight, alone),
            headers: headers(target.headers.as_ref()),
        })
    })?;
    Ok(HttpAction::Route(destinations))
}

fn redirect(
    wire: &wire::Redirect,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
) -> Result<Redirect, Fault> {
    let port = match (wire.port, wire.derive_port) {
        (Some(number), _) => {
            let redirect = path.field("redirect");
            Some(RedirectPort::Number(
                scope.port(number, &redirect.field("port"))?,
            ))
        }
        (None, Some(wire::DerivePort::FromProtocolDefault)) => Some(RedirectPort::ProtocolDefault),
        (None, Some(wire::DerivePort::FromRequestPort)) => Some(RedirectPort::Request),
        (None, None) => None,
    };
    let path = match (some(&wire.uri), some(&wire.prefix_rewrite)) {
        (Some(uri), _) => Some(RedirectPath::Full(uri)),
        (None, prefix) => prefix.map(RedirectPath::Prefix),
    };
    Ok(Redirect {
        path,
        authority: some(&wire.authority),
        port,
        scheme: match wire.scheme.as_str() {
            "http" => Some(Scheme::Http),
            "https" => Some(Scheme::Https),
            _ => None,
        },
        code: u16::try_from(wire.redirect_code)
            .ok()
            .filter(|code| *code != 0)
            .unwrap_or(301),
    })
}

fn direct_response(
    wire: &wire::DirectResponse,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
) -> Result<DirectResponse, Fault> {
    let status = u16::try_from(wire.status)
        .map_err(|_| scope.fault(&path.field("directResponse"), "not a status code"))?;
    let body = wire
        .body
        .as_ref()
        .and_then(|body| match (&body.string, &body.bytes) {
            (Some(text), _) => Some(Bytes::from(text.clone())),
            (None, Some(bytes)) => Some(Bytes::from(bytes.0.clone())),
            (None, None) => None,
        });
    Ok(DirectResponse { status, body })
}

fn rewrite(wire: &wire::Rewrite) -> Rewrite {
    let by_regex = wire
        .uri_regex_rewrite
        .as_ref()
        .map(|regex| PathRewrite::Regex {
            pattern: regex.r#match.as_str().into(),
            substitution: regex.rewrite.as_str().into(),
        });
    Rewrite {
        path: by_regex.or_else(|| some(&wire.uri).map(PathRewrite::Uri)),
        authority: some(&wire.authority),
    }
}

/// Also the mesh's default policy.
pub(crate) fn retries(wire: &wire::Retry) -> RetryPolicy {
    let named = wire
        .retry_on
        .split(',')
        .map(str::trim)
        .filter(|condition| !condition.is_empty());
    let (codes, conditions): (Vec<&str>, Vec<&str>) =
        named.partition(|condition| condition.parse::<u16>().is_ok());
    let retriable_status_codes: BTreeSet<u16> =
        codes.iter().filter_map(|code| code.parse().ok()).collect();
    let mut retry_on: Vec<Arc<str>> = conditions.into_iter().map(Arc::from).collect();
    if retry_on.is_empty() && retriable_status_codes.is_empty() {
        retry_on = default_conditions();
    }
    let by_code = "retriable-status-codes";
    if !retriable_status_codes.is_empty() && !retry_on.iter().any(|name| &**name == by_code) {
        retry_on.push(by_code.into());
    }
    RetryPolicy {
        attempts: u32::try_from(wire.attempts).unwrap_or(0),
        per_try_timeout: wire.per_try_timeout.map(|timeout| timeout.0),
        retry_on,
        retriable_status_codes,
        retry_remote_localities: wire.retry_remote_localities.unwrap_or(false),
        ignore_previous_hosts: wire.retry_ignore_previous_hosts.unwrap_or(true),
        backoff: wire
            .backoff
            .map_or(RetryPolicy::DEFAULT_BACKOFF, |backoff| backoff.0),
    }
}

fn injected_fault(
    wire: &wire::Fault,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
) -> Result<InjectedFault, Fault> {
    let path = path.field("fault");
    let delay = wire.delay.as_ref().and_then(|delay| {
        let deprecated = delay.percent.map(f64::from);
        let percent = delay.percentage.as_ref().map(|percentage| percentage.value);
        Some(Delay {
            fixed: delay.fixed_delay?.0,
            percentage: share(percent.or(deprecated), Percent::NONE),
        })
    });
    let abort = wire.abort.as_ref().map(|abort| {
        let at = path.field("abort");
        let status = match (abort.http_status, &abort.grpc_status) {
            (Some(status), _) => u16::try_from(status).ok().map(AbortStatus::Http),
            (None, Some(name)) => {
                grpc_status(name).map(|(code, name)| AbortStatus::Grpc(code, name.into()))
            }
            (None, None) => None,
        };
        let percent = abort.percentage.as_ref().map(|percentage| percentage.value);
        Ok(Abort {
            status: status.ok_or_else(|| scope.fault(&at, "the abort has no status"))?,
            percentage: share(percent, Percent::NONE),
        })
    });
    Ok(InjectedFault {
        delay,
        abort: abort.transpose()?,
    })
}

fn share(percent: Option<f64>, default: Percent) -> Percent {
    percent.and_then(Percent::from_percent).unwrap_or(default)
}

/// A status by name or number, as the fault filter takes it.
pub(crate) fn grpc_status(text: &str) -> Option<(u16, &'static str)> {
    const NAMES: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    let by_number = text
        .parse::<usize>()
        .ok()
        .filter(|code| *code < NAMES.len());
    let code = by_number.or_else(|| NAMES.iter().position(|name| *name == text))?;
    u16::try_from(code).ok().map(|number| (number, NAMES[code]))
}

fn mirrors(
    route: &wire::HttpRoute,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
) -> Result<Vec<Mirror>, Fault> {
    let mut mirrors = each(&route.mirrors, &path.field("mirrors"), |mirror, path| {
        let percent = mirror
            .percentage
            .as_ref()
            .map(|percentage| percentage.value);
        Ok(Mirror {
            destination: destination(
                mirror.destination.as_ref(),
                &path.field("destination"),
                scope,
            )?,
            percentage: share(percent, Percent::ALL),
        })
    })?;
    if let Some(mirror) = &route.mirror {
        let percent = route
            .mirror_percentage
            .as_ref()
            .map(|percentage| percentage.value);
        mirrors.push(Mirror {
            destination: destination(Some(mirror), &path.field("mirror"), scope)?,
            percentage: share(
                percent.or(route.mirror_percent.map(f64::from)),
                Percent::ALL,
            ),
        });
    }
    Ok(mirrors)
}

fn cors(wire: &wire::CorsPolicy) -> CorsPolicy {
    let exact = wire
        .allow_origin
        .iter()
        .map(|origin| match origin.as_str() {
            "*" => StringMatch::Regex(".*".into()),
            origin => StringMatch::Exact(origin.into()),
        });
    CorsPolicy {
        allow_origins: match wire.allow_origins.is_empty() {
            true => exact.collect(),
            false => wire.allow_origins.iter().map(string_match).collect(),
        },
        allow_methods: shared(&wire.allow_methods),
        allow_headers: shared(&wire.allow_headers),
        expose_headers: shared(&wire.expose_headers),
        max_age: wire.max_age.map(|age| age.0),
        allow_credentials: wire.allow_credentials,
        forward_unmatched_preflights: wire.unmatched_preflights
            != wire::UnmatchedPreflights::Ignore,
    }
}

fn headers(wire: Option<&wire::Headers>) -> HeaderOperations {
    HeaderOperations {
        request: edit(wire.and_then(|headers| headers.request.as_ref())),
        response: edit(wire.and_then(|headers| headers.response.as_ref())),
    }
}

fn edit(wire: Option<&wire::HeaderOperations>) -> HeaderEdit {
    let Some(wire) = wire else {
        return HeaderEdit::default();
    };
    let pairs = |map: &BTreeMap<String, String>| {
        map.iter()
            .map(|(name, value)| (name.as_str().into(), value.as_str().into()))
            .collect()
    };
    HeaderEdit {
        set: pairs(&wire.set),
        add: pairs(&wire.add),
        remove: shared(&wire.remove),
    }
}
