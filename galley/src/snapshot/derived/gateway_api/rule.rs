//! One match of an HTTPRoute or a GRPCRoute as routes of the model.

use std::sync::Arc;

use mesh_api::route::matcher::{HttpMatch, StringMatch};
use mesh_api::route::mirror::Mirror;
use mesh_api::route::redirect::{DirectResponse, Redirect, RedirectPath, RedirectPort};
use mesh_api::route::rewrite::{PathRewrite, Rewrite};
use mesh_api::route::timeout::Timeout;
use mesh_api::route::{HttpAction, HttpRoute};

use super::World;
use super::backend::{destination, leads_nowhere, weighted};
use super::precedence::Ranked;
use crate::normalize::gateway_api::{HttpRouteObject, Modifier, PathMatch, RequestRedirect, Rule};

/// The routes of one match. A prefix covers whole segments, so it is an exact path
/// and a prefix that ends in a slash; where the prefix is replaced, these differ.
pub(super) fn routes(ranked: &Ranked<'_>, world: World<'_>) -> Vec<HttpRoute> {
    let rule = ranked.rule;
    let redirected = rule.redirect.as_ref().and_then(|one| one.path.as_ref());
    let rewritten = rule.rewrite.as_ref().and_then(|one| one.path.as_ref());
    let replaces = matches!(redirected.or(rewritten), Some(Modifier::Prefix(_)));
    let (exact, below) = match &ranked.one.path {
        PathMatch::Exact(path) => (Some(StringMatch::Exact(path.clone())), None),
        PathMatch::Regex(path) => (Some(StringMatch::Regex(path.clone())), None),
        PathMatch::Prefix(path) if path.is_empty() => (None, Some(StringMatch::Prefix("/".into()))),
        PathMatch::Prefix(path) => (
            Some(StringMatch::Exact(path.clone())),
            Some(StringMatch::Prefix(format!("{path}/").into())),
        ),
    };
    if replaces {
        let exact = exact.map(|uri| route(ranked, vec![uri], Covers::Whole, world));
        let below = below.map(|uri| route(ranked, vec![uri], Covers::Segments, world));
        return exact.into_iter().chain(below).collect();
    }
    let uris = exact.into_iter().chain(below).collect();
    vec![route(ranked, uris, Covers::Whole, world)]
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
    ranked: &Ranked<'_>,
    uris: Vec<StringMatch>,
    covers: Covers,
    world: World<'_>,
) -> HttpRoute {
    let rule = ranked.rule;
    let matches = uris.into_iter().map(|uri| HttpMatch {
        uri: Some(uri),
        port: ranked.port,
        ..ranked.one.rest.clone()
    });
    let mirrors = rule.mirrors.iter().filter_map(|mirror| {
        Some(Mirror {
            destination: destination(&ranked.route.meta, &mirror.backend, world).ok()?,
            percentage: mirror.share,
        })
    });
    HttpRoute {
        name: "".into(),
        origin: ranked.route.meta.origin.clone(),
        matches: matches.collect(),
        action: action(ranked.route, rule, covers, world),
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

fn action(route: &HttpRouteObject, rule: &Rule, covers: Covers, world: World<'_>) -> HttpAction {
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
