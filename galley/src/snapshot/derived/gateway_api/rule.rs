//! One match of an HTTPRoute or a GRPCRoute as routes of the model.

use std::sync::Arc;

use mesh_api::route::matcher::{HttpMatch, StringMatch};
use mesh_api::route::mirror::Mirror;
use mesh_api::route::redirect::{DirectResponse, Redirect, RedirectPath, RedirectPort};
use mesh_api::route::rewrite::{PathRewrite, Rewrite};
use mesh_api::route::timeout::Timeout;
use mesh_api::route::{HttpAction, HttpRoute};

use super::backend::{destination, leads_nowhere, weighted};
use crate::kinds::gateway_api::{
    HttpRouteObject, Match, Modifier, PathMatch, RequestRedirect, Rule,
};
use crate::snapshot::derived::world::World;

/// One match of one rule of a route.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written<'a> {
    pub(super) route: &'a HttpRouteObject,
    pub(super) rule: &'a Rule,
    pub(super) one: &'a Match,
    /// Only traffic to this port of the Service.
    pub(super) port: Option<u16>,
}

/// The routes of one match. A prefix covers whole segments, so it is an exact path
/// and a prefix that ends in a slash; where the prefix is replaced, these differ.
pub(super) fn routes(written: &Written<'_>, world: &World<'_>) -> Vec<HttpRoute> {
    let rule = written.rule;
    let redirected = rule.redirect.as_ref().and_then(|one| one.path.as_ref());
    let rewritten = rule.rewrite.as_ref().and_then(|one| one.path.as_ref());
    let replaces = matches!(redirected.or(rewritten), Some(Modifier::Prefix(_)));
    let (exact, below) = match &written.one.path {
        PathMatch::Exact(path) => (Some(StringMatch::Exact(path.clone())), None),
        PathMatch::Regex(path) => (Some(StringMatch::Regex(path.clone())), None),
        PathMatch::Prefix(path) if path.is_empty() => (None, Some(StringMatch::Prefix("/".into()))),
        PathMatch::Prefix(path) => (
            Some(StringMatch::Exact(path.clone())),
            Some(StringMatch::Prefix(format!("{path}/").into())),
        ),
    };
    if replaces {
        let exact = exact.map(|uri| route(written, vec![uri], Covers::Whole, world));
        let below = below.map(|uri| route(written, vec![uri], Covers::Segments, world));
        return exact.into_iter().chain(below).collect();
    }
    let uris = exact.into_iter().chain(below).collect();
    vec![route(written, uris, Covers::Whole, world)]
}

/// What of the path a match covers.
#[derive(Clone, Copy)]
enum Covers {
    /// All of it.
    Whole,
    /// The beginning, up to and with a slash.
    Segments,
}

impl Covers {
    /// What stands in the place of a prefix.
    fn replacement(self, prefix: &str) -> Arc<str> {
        match self {
            Self::Whole if prefix.is_empty() => "/".into(),
            Self::Whole => prefix.into(),
            Self::Segments => format!("{prefix}/").into(),
        }
    }
}

fn route(
    written: &Written<'_>,
    uris: Vec<StringMatch>,
    covers: Covers,
    world: &World<'_>,
) -> HttpRoute {
    let rule = written.rule;
    let matches = uris.into_iter().map(|uri| HttpMatch {
        uri: Some(uri),
        port: written.port,
        ..written.one.rest.clone()
    });
    let mirrors = rule.mirrors.iter().filter_map(|mirror| {
        Some(Mirror {
            destination: destination(&written.route.meta, &mirror.backend, world).ok()?,
            percentage: mirror.share,
        })
    });
    HttpRoute {
        name: "".into(),
        origin: written.route.meta.origin.clone(),
        matches: matches.collect(),
        action: action(written.route, rule, covers, world),
        rewrite: rule.rewrite.as_ref().map(|rewrite| Rewrite {
            path: rewrite.path.as_ref().map(|path| rewritten(path, covers)),
            authority: rewrite.hostname.clone(),
        }),
        timeout: rule.timeout.map_or(Timeout::Off, Timeout::After),
        retries: rule.retries.clone(),
        fault: None,
        mirrors: mirrors.collect(),
        cors: rule.cors.clone(),
        headers: rule.headers.clone(),
    }
}

fn rewritten(path: &Modifier, covers: Covers) -> PathRewrite {
    match path {
        Modifier::Full(path) => PathRewrite::Regex {
            pattern: "/.*".into(),
            substitution: path.clone(),
        },
        Modifier::Prefix(prefix) => PathRewrite::Uri(covers.replacement(prefix)),
    }
}

fn action(route: &HttpRouteObject, rule: &Rule, covers: Covers, world: &World<'_>) -> HttpAction {
    if let Some(one) = &rule.redirect {
        return HttpAction::Redirect(redirect(one, covers));
    }
    match weighted(&route.meta, &rule.backends, world) {
        destinations if leads_nowhere(&destinations) => {
            HttpAction::DirectResponse(DirectResponse {
                status: 500,
                body: None,
            })
        }
        destinations => HttpAction::Route(destinations),
    }
}

fn redirect(one: &RequestRedirect, covers: Covers) -> Redirect {
    let path = one.path.as_ref().map(|path| match (path, covers) {
        (Modifier::Full(path), _) => RedirectPath::Full(path.clone()),
        (Modifier::Prefix(prefix), Covers::Whole) => RedirectPath::Full(covers.replacement(prefix)),
        (Modifier::Prefix(prefix), Covers::Segments) => {
            RedirectPath::Prefix(covers.replacement(prefix))
        }
    });
    Redirect {
        path,
        authority: one.hostname.clone(),
        port: Some(match (one.port, one.scheme) {
            (Some(port), _) => RedirectPort::Number(port),
            (None, Some(_)) => RedirectPort::ProtocolDefault,
            (None, None) => RedirectPort::Request,
        }),
        scheme: one.scheme,
        code: one.code,
    }
}
