//! Filters of `HTTPRoute` and `GRPCRoute`.

use mesh_api::route::mirror::Percent;
use mesh_api::route::redirect::Scheme;

use super::headers::header_filter;
use super::reference::port;
use super::rule::{MirrorTo, Modifier, RequestRedirect, Rule, UrlRewrite};
use super::wire::{WireFilter, WireMirror, WirePathModifier, WireRedirect};
use super::{backend, cors};
use crate::kinds::findings::Findings;
use crate::kinds::rules::some;
use crate::kinds::scope::Scope;
use crate::manifest::path::FieldPath;

/// Adds a filter to its rule.
pub(super) fn read(
    wire: &WireFilter,
    rule: &mut Rule,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
    findings: &mut Findings<'_>,
) -> Option<()> {
    if header_filter(wire, &mut rule.headers) {
        return Some(());
    }
    if let Some(one) = &wire.cors {
        rule.cors = Some(cors::read(one, &path.field("cors"), findings)?);
    } else if let Some(one) = &wire.request_redirect {
        let path = path.field("requestRedirect");
        rule.redirect = Some(redirect(one, &path, findings)?);
    } else if let Some(one) = &wire.url_rewrite {
        rule.rewrite = Some(UrlRewrite {
            hostname: one.hostname.as_deref().and_then(some),
            path: one.path.as_ref().map(modifier),
        });
    } else if let Some(one) = &wire.request_mirror {
        let at = path.field("requestMirror");
        rule.mirrors.push(mirror(one, &at, scope, findings)?);
    } else {
        let message = format!("filter \"{}\" is not supported yet", wire.r#type);
        findings.error(path, message);
        return None;
    }
    Some(())
}

fn share(mirror: &WireMirror) -> Option<Percent> {
    match (&mirror.percent, &mirror.fraction) {
        (Some(percent), _) => Percent::from_percent(f64::from(*percent)),
        (None, Some(fraction)) => {
            let whole = f64::from(fraction.denominator.unwrap_or(100));
            Percent::from_percent(f64::from(fraction.numerator) * 100.0 / whole)
        }
        (None, None) => Some(Percent::ALL),
    }
}

fn mirror(
    wire: &WireMirror,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
    findings: &mut Findings<'_>,
) -> Option<MirrorTo> {
    let at = path.field("backendRef");
    let backend = backend::read(&wire.backend_ref, &at, scope, findings);
    let share = share(wire);
    if share.is_none() {
        findings.error(path, "not a share of requests");
    }
    Some(MirrorTo {
        backend: backend?,
        share: share?,
    })
}

fn redirect(
    wire: &WireRedirect,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<RequestRedirect> {
    let port = port(wire.port, path, findings);
    let code = u16::try_from(wire.status_code.unwrap_or(302)).ok();
    let code = code.filter(|code| (300..400).contains(code));
    if code.is_none() {
        findings.error(&path.field("statusCode"), "not a redirect");
    }
    Some(RequestRedirect {
        scheme: match wire.scheme.as_deref() {
            Some("http") => Some(Scheme::Http),
            Some("https") => Some(Scheme::Https),
            _ => None,
        },
        hostname: wire.hostname.as_deref().and_then(some),
        path: wire.path.as_ref().map(modifier),
        port: port?,
        code: code?,
    })
}

fn modifier(wire: &WirePathModifier) -> Modifier {
    match (&wire.replace_full_path, &wire.replace_prefix_match) {
        (Some(full), _) => Modifier::Full(full.as_str().into()),
        (None, prefix) => {
            let prefix = prefix.as_deref().unwrap_or_default();
            Modifier::Prefix(prefix.trim_end_matches('/').into())
        }
    }
}
