//! Rules of requests, as HTTPRoute and GRPCRoute have them.

use std::sync::Arc;
use std::time::Duration;

use mesh_api::route::cors::CorsPolicy;
use mesh_api::route::headers::HeaderOperations;
use mesh_api::route::matcher::HttpMatch;
use mesh_api::route::mirror::Percent;
use mesh_api::route::redirect::Scheme;
use mesh_api::route::retry::RetryPolicy;
use serde_json::Value as Json;

use super::path_match::PathMatch;
use super::reference::Reference;
use crate::kinds::findings::Findings;
use crate::kinds::rules::each;
use crate::manifest::path::FieldPath;

/// One `rules[]` entry.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Alternatives, at least one.
    pub matches: Vec<Match>,
    /// Header edits.
    pub headers: HeaderOperations,
    /// Shadow backends.
    pub mirrors: Vec<MirrorTo>,
    /// Instead of backends.
    pub redirect: Option<RequestRedirect>,
    /// On the way to backends.
    pub rewrite: Option<UrlRewrite>,
    /// `backendRefs`.
    pub backends: Vec<Backend>,
    /// `timeouts.request`.
    pub timeout: Option<Duration>,
    /// `retry` with `timeouts.backendRequest`; nothing for the mesh's default.
    pub retries: Option<RetryPolicy>,
    /// Filter `CORS`.
    pub cors: Option<CorsPolicy>,
}

/// One `matches[]` entry.
#[derive(Debug, Clone, PartialEq)]
pub struct Match {
    /// The path.
    pub path: PathMatch,
    /// Characters by which longer matches go first: of the path, or of a gRPC service
    /// and then its method.
    pub lengths: (usize, usize),
    /// Everything else.
    pub rest: HttpMatch,
}

/// A backend reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    /// The object.
    pub to: Reference,
    /// Its port.
    pub port: Option<u16>,
    /// Weight, relative to the other backends.
    pub weight: u32,
    /// Header edits for this backend.
    pub headers: HeaderOperations,
}

/// `RequestMirror`.
#[derive(Debug, Clone, PartialEq)]
pub struct MirrorTo {
    /// Where to.
    pub backend: Backend,
    /// Percentage of requests.
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

/// `matches` of the rule at `path`; one of everything where there is none.
pub(super) fn matches_of<'i, Entry>(
    matches: &'i [Entry],
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
    read: impl FnMut(&'i Entry, &FieldPath<'_>, &mut Findings<'_>) -> Option<Match>,
) -> Option<Vec<Match>> {
    match matches {
        [] => Some(vec![everything()]),
        matches => each(matches, &path.field("matches"), findings, read),
    }
}

/// The match of a rule that names none.
pub(super) fn everything() -> Match {
    Match {
        path: PathMatch::Prefix("".into()),
        lengths: (0, 0),
        rest: HttpMatch::default(),
    }
}

/// Refuses `sessionPersistence` of the rule at `path`.
pub(super) fn without_sessions(
    wire: Option<&Json>,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<()> {
    if wire.is_some() {
        findings.error(&path.field("sessionPersistence"), "not supported yet");
        return None;
    }
    Some(())
}
