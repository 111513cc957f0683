//! `HTTPRoute`, and what it has in common with `GRPCRoute`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mesh_api::hostname::Hostname;
use mesh_api::resource::Meta;
use mesh_api::route::Matchers;
use mesh_api::route::cors::CorsPolicy;
use mesh_api::route::headers::HeaderOperations;
use mesh_api::route::matcher::{HttpMatch, StringMatch};
use mesh_api::route::retry::RetryPolicy;
use serde_json::Value as Json;

use super::filter::{MirrorTo, RequestRedirect, UrlRewrite, filter, header_filter};
use super::parent::{Parent, hostnames, parents};
use super::retry::{limited, retry};
use super::{Reference, reference};
use crate::crd::gateway_api as wire;
use crate::manifest::path::FieldPath;
use crate::normalize::{Fault, Scope};

/// An `HTTPRoute` or a `GRPCRoute`; the kind stands in the object's key.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpRouteObject {
    /// The object.
    pub meta: Meta,
    /// `parentRefs`.
    pub parents: Vec<Parent>,
    /// `hostnames`; empty for those of the listener.
    pub hostnames: Vec<Hostname>,
    /// `rules`.
    pub rules: Vec<Rule>,
}

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

/// `path`, best first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathMatch {
    /// The whole path.
    Exact(Arc<str>),
    /// Whole segments, without last slash; empty for every path.
    Prefix(Arc<str>),
    /// RE2.
    Regex(Arc<str>),
}

/// A backend reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    /// The object.
    pub to: Reference,
    /// Its port.
    pub port: Option<u16>,
    /// Share.
    pub weight: u32,
    /// Header edits for this backend.
    pub headers: HeaderOperations,
}

pub(in crate::normalize) fn normalize(
    spec: &wire::HttpRoute,
    scope: &Scope<'_>,
) -> Result<HttpRouteObject, Fault> {
    route_of(&spec.parent_refs, &spec.hostnames, &spec.rules, rule, scope)
}

/// How one entry of a list is read.
type Read<T, Entry> = fn(&Entry, &FieldPath<'_>, &Scope<'_>) -> Result<T, Fault>;

/// A route of requests, each of whose rules is read by `rule`.
pub(super) fn route_of<Entry>(
    refs: &[wire::ObjectRef],
    hosts: &[String],
    rules: &[Entry],
    rule: Read<Rule, Entry>,
    scope: &Scope<'_>,
) -> Result<HttpRouteObject, Fault> {
    let root = FieldPath::ROOT;
    let path = root.field("spec");
    let list = path.field("rules");
    let rules = rules.iter().enumerate();
    Ok(HttpRouteObject {
        meta: scope.meta.clone(),
        parents: parents(refs, &path, scope)?,
        hostnames: hostnames(hosts, &path, scope)?,
        rules: rules
            .map(|(index, one)| rule(one, &list.index(index), scope))
            .collect::<Result<_, _>>()?,
    })
}

/// `matches` of the rule at `path`; one of everything where there is none.
pub(super) fn matches_of<Entry>(
    matches: &[Entry],
    read: Read<Match, Entry>,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
) -> Result<Vec<Match>, Fault> {
    if matches.is_empty() {
        return Ok(vec![everything()]);
    }
    let list = path.field("matches");
    let matches = matches.iter().enumerate();
    matches
        .map(|(index, one)| read(one, &list.index(index), scope))
        .collect()
}

/// Refuses `sessionPersistence` of the rule at `path`.
pub(super) fn without_sessions(
    wire: Option<&Json>,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
) -> Result<(), Fault> {
    match wire {
        Some(_) => Err(scope.fault(&path.field("sessionPersistence"), "not supported yet")),
        None => Ok(()),
    }
}

pub(super) fn port(
    number: Option<u32>,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
) -> Result<Option<u16>, Fault> {
    number
        .map(|number| scope.port(number, &path.field("port")))
        .transpose()
}

fn rule(wire: &wire::HttpRule, path: &FieldPath<'_>, scope: &Scope<'_>) -> Result<Rule, Fault> {
    without_sessions(wire.session_persistence.as_ref(), path, scope)?;
    let matches = matches_of(&wire.matches, http_match, path, scope)?;
    let timeouts = wire.timeouts.clone().unwrap_or_default();
    let limit = |limit: Option<crate::decode::jsonpb::GoDuration>| {
        limit.map(|limit| limit.0).filter(|limit| !limit.is_zero())
    };
    let at = path.field("retry");
    let retries = wire.retry.as_ref().map(|wire| retry(wire, &at, scope));
    Ok(Rule {
        timeout: limit(timeouts.request),
        retries: limited(retries.transpose()?, limit(timeouts.backend_request)),
        ..rule_of(matches, &wire.filters, &wire.backend_refs, path, scope)?
    })
}

/// A rule without limits.
pub(super) fn rule_of(
    matches: Vec<Match>,
    filters: &[wire::HttpFilter],
    backends: &[wire::BackendRef],
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
) -> Result<Rule, Fault> {
    let mut rule = Rule {
        matches,
        headers: HeaderOperations::default(),
        mirrors: Vec::new(),
        redirect: None,
        rewrite: None,
        backends: Vec::new(),
        timeout: None,
        retries: None,
        cors: None,
    };
    let list = path.field("filters");
    for (index, one) in filters.iter().enumerate() {
        filter(one, &mut rule, &list.index(index), scope)?;
    }
    let refs = path.field("backendRefs");
    for (index, one) in backends.iter().enumerate() {
        rule.backends.push(backend(one, &refs.index(index), scope)?);
    }
    Ok(rule)
}

/// The match of a rule that names none.
pub(super) fn everything() -> Match {
    Match {
        path: PathMatch::Prefix("".into()),
        lengths: (0, 0),
        rest: HttpMatch::default(),
    }
}

fn http_match(
    wire: &wire::HttpMatch,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
) -> Result<Match, Fault> {
    let (kind, value) = match &wire.path {
        Some(path) => (path.r#type.as_deref(), path.value.as_deref()),
        None => (None, None),
    };
    let value = value.unwrap_or("/");
    let path_match = match kind {
        None | Some("PathPrefix") => PathMatch::Prefix(value.trim_end_matches('/').into()),
        Some("Exact") => PathMatch::Exact(value.into()),
        Some("RegularExpression") => PathMatch::Regex(scope.regex(value, &path.field("path"))?),
        Some(other) => {
            let message = format!("path type \"{other}\" is not supported");
            return Err(scope.fault(&path.field("path"), message));
        }
    };
    let headers = named(&wire.headers, &path.field("headers"), scope)?;
    let length = match &path_match {
        PathMatch::Exact(path) | PathMatch::Prefix(path) | PathMatch::Regex(path) => path.len(),
    };
    Ok(Match {
        path: path_match,
        lengths: (length, 0),
        rest: HttpMatch {
            method: wire
                .method
                .as_deref()
                .map(|method| StringMatch::Exact(method.into())),
            headers: lower_case(headers),
            query_params: named(&wire.query_params, &path.field("queryParams"), scope)?,
            ..HttpMatch::default()
        },
    })
}

/// Names of headers have no case.
pub(super) fn lower_case(matchers: Matchers) -> Matchers {
    let matchers = matchers.into_iter();
    matchers
        .map(|(name, value)| (name.to_ascii_lowercase().into(), value))
        .collect()
}

/// Of several matches of one name the first counts.
pub(super) fn named(
    list: &[wire::NamedMatch],
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
) -> Result<Matchers, Fault> {
    let mut matchers = BTreeMap::new();
    for (index, one) in list.iter().enumerate() {
        let matcher = match one.r#type.as_deref() {
            Some("RegularExpression") => {
                StringMatch::Regex(scope.regex(&one.value, &path.index(index))?)
            }
            _ => StringMatch::Exact(one.value.as_str().into()),
        };
        matchers.entry(one.name.as_str().into()).or_insert(matcher);
    }
    Ok(matchers)
}

pub(super) fn backend(
    wire: &wire::BackendRef,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
) -> Result<Backend, Fault> {
    let mut headers = HeaderOperations::default();
    for one in &wire.filters {
        if !header_filter(one, &mut headers) {
            let message = format!(
                "filter \"{}\" of a backend is not supported yet",
                one.r#type
            );
            return Err(scope.fault(&path.field("filters"), message));
        }
    }
    let to = wire::ObjectRef {
        group: wire.group.clone(),
        kind: wire.kind.clone(),
        namespace: wire.namespace.clone(),
        name: wire.name.clone(),
        ..wire::ObjectRef::default()
    };
    Ok(Backend {
        to: reference(&to, "", "Service", scope),
        port: port(wire.port, path, scope)?,
        weight: wire.weight.unwrap_or(1),
        headers,
    })
}
