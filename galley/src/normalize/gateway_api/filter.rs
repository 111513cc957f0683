//! Filters of `HTTPRoute` and `GRPCRoute`.

use std::sync::Arc;

use mesh_api::route::headers::{HeaderEdit, HeaderOperations};
use mesh_api::route::mirror::Percent;
use mesh_api::route::redirect::Scheme;

use super::cors::cors;
use super::http_route::{Backend, Rule, backend, port};
use crate::crd::gateway_api as wire;
use crate::manifest::path::FieldPath;
use crate::normalize::{Fault, Scope, some};

/// `RequestMirror`.
#[derive(Debug, Clone, PartialEq)]
pub struct MirrorTo {
    /// Where to.
    pub backend: Backend,
    /// Share of requests.
    pub share: Percent,
}

/// `RequestRedirect`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestRedirect {
    /// New scheme.
    pub scheme: Option<Scheme>,
    /// New host.
    pub hostname: Option<Arc<str>>,
    /// New path.
    pub path: Option<Modifier>,
    /// New port.
    pub port: Option<u16>,
    /// Status.
    pub code: u16,
}

/// `URLRewrite`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlRewrite {
    /// New host.
    pub hostname: Option<Arc<str>>,
    /// New path.
    pub path: Option<Modifier>,
}

/// `path` of redirects and rewrites.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Modifier {
    /// The whole path.
    Full(Arc<str>),
    /// The matched prefix; without last slash.
    Prefix(Arc<str>),
}

/// Adds a filter to its rule.
pub(super) fn filter(
    wire: &wire::HttpFilter,
    rule: &mut Rule,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
) -> Result<(), Fault> {
    if header_filter(wire, &mut rule.headers) {
        return Ok(());
    }
    if let Some(one) = &wire.cors {
        rule.cors = Some(cors(one, &path.field("cors"), scope)?);
        return Ok(());
    }
    match (
        &wire.request_redirect,
        &wire.url_rewrite,
        &wire.request_mirror,
    ) {
        (Some(one), _, _) => {
            let path = path.field("requestRedirect");
            rule.redirect = Some(redirect(one, &path, scope)?);
        }
        (_, Some(one), _) => {
            rule.rewrite = Some(UrlRewrite {
                hostname: one.hostname.as_deref().and_then(some),
                path: one.path.as_ref().map(modifier),
            });
        }
        (_, _, Some(one)) => {
            let at = path.field("requestMirror");
            rule.mirrors.push(MirrorTo {
                backend: backend(&one.backend_ref, &at.field("backendRef"), scope)?,
                share: share(one).ok_or_else(|| scope.fault(&at, "not a share of requests"))?,
            });
        }
        _ => {
            let message = format!("filter \"{}\" is not supported yet", wire.r#type);
            return Err(scope.fault(path, message));
        }
    }
    Ok(())
}

/// True if the filter is one of headers.
pub(super) fn header_filter(wire: &wire::HttpFilter, headers: &mut HeaderOperations) -> bool {
    let request = wire.request_header_modifier.as_ref();
    let response = wire.response_header_modifier.as_ref();
    if let Some(modifier) = request {
        headers.request = edit(modifier);
    }
    if let Some(modifier) = response {
        headers.response = edit(modifier);
    }
    request.is_some() || response.is_some()
}

fn edit(modifier: &wire::HeaderModifier) -> HeaderEdit {
    let pairs = |list: &[wire::Header]| {
        list.iter()
            .map(|one| (one.name.as_str().into(), one.value.as_str().into()))
            .collect()
    };
    HeaderEdit {
        set: pairs(&modifier.set),
        add: pairs(&modifier.add),
        remove: modifier
            .remove
            .iter()
            .map(|name| name.as_str().into())
            .collect(),
    }
}

fn share(mirror: &wire::RequestMirror) -> Option<Percent> {
    match (&mirror.percent, &mirror.fraction) {
        (Some(percent), _) => Percent::from_percent(f64::from(*percent)),
        (None, Some(fraction)) => {
            let whole = f64::from(fraction.denominator.unwrap_or(100));
            Percent::from_percent(f64::from(fraction.numerator) * 100.0 / whole)
        }
        (None, None) => Some(Percent::ALL),
    }
}

fn redirect(
    wire: &wire::RequestRedirect,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
) -> Result<RequestRedirect, Fault> {
    let code = wire.status_code.unwrap_or(302);
    let code = u16::try_from(code)
        .ok()
        .filter(|code| (300..400).contains(code));
    Ok(RequestRedirect {
        scheme: match wire.scheme.as_deref() {
            Some("http") => Some(Scheme::Http),
            Some("https") => Some(Scheme::Https),
            _ => None,
        },
        hostname: wire.hostname.as_deref().and_then(some),
        path: wire.path.as_ref().map(modifier),
        port: port(wire.port, path, scope)?,
        code: code.ok_or_else(|| scope.fault(&path.field("statusCode"), "not a redirect"))?,
    })
}

fn modifier(wire: &wire::PathModifier) -> Modifier {
    match (&wire.replace_full_path, &wire.replace_prefix_match) {
        (Some(full), _) => Modifier::Full(full.as_str().into()),
        (None, prefix) => {
            let prefix = prefix.as_deref().unwrap_or_default();
            Modifier::Prefix(prefix.trim_end_matches('/').into())
        }
    }
}
