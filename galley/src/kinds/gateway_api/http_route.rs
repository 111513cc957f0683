//! `HTTPRoute`, and what it has in common with `GRPCRoute`.

use std::sync::Arc;

use mesh_api::hostname::Hostname;
use mesh_api::resource::Meta;
use mesh_api::route::headers::HeaderOperations;
use mesh_api::route::matcher::{HttpMatch, StringMatch};
use serde_json::Value as Json;

use super::parent::{Parent, hostnames, parents};
use super::path_match::{PathMatch, WireNamedMatch, lower_case, named};
use super::reference::{GROUP, ObjectRef};
use super::retry::{self, WireRetry, WireTimeouts, limited};
use super::rule::{Match, Rule, matches_of, without_sessions};
use super::wire::{WireBackend, WireFilter};
use super::{backend, filter};
use crate::decode::jsonpb::GoDuration;
use crate::kinds::descriptor::Descriptor;
use crate::kinds::findings::Findings;
use crate::kinds::read::Read;
use crate::kinds::rules::{self, each};
use crate::kinds::scope::Scope;
use crate::kinds::wire::wire;
use crate::manifest::path::FieldPath;

wire! {
    HttpRouteSpec {
        parent_refs: Vec<ObjectRef>,
        hostnames: Vec<String>,
        rules: Vec<WireHttpRule>,
        use_default_gateways: Option<Json>,
    }

    WireHttpRule {
        name: Option<String>,
        matches: Vec<WireHttpMatch>,
        filters: Vec<WireFilter>,
        backend_refs: Vec<WireBackend>,
        timeouts: Option<WireTimeouts>,
        retry: Option<WireRetry>,
        session_persistence: Option<Json>,
    }

    WireHttpMatch {
        path: Option<WirePathMatch>,
        headers: Vec<WireNamedMatch>,
        query_params: Vec<WireNamedMatch>,
        method: Option<String>,
    }

    WirePathMatch {
        r#type: Option<String>,
        value: Option<String>,
    }
}

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

impl Read for HttpRouteSpec {
    const KIND: Descriptor = Descriptor::custom(GROUP, "HTTPRoute", &["v1", "v1beta1"]);

    type Model = Arc<HttpRouteObject>;

    fn read(&self, scope: &Scope<'_>, findings: &mut Findings<'_>) -> Option<Arc<HttpRouteObject>> {
        route_of(
            &self.parent_refs,
            &self.hostnames,
            &self.rules,
            scope,
            findings,
            |wire, at, findings| rule(wire, at, scope, findings),
        )
    }

    #[cfg(any(test, feature = "test-util"))]
    fn sample() -> serde_json::Value {
        serde_json::json!({
            "parentRefs": [{"name": "a"}],
            "rules": [{"backendRefs": [{"name": "a", "port": 80}]}],
        })
    }
}

/// A route of requests, each of whose rules is read by `rule`.
pub(super) fn route_of<'i, Entry>(
    refs: &[ObjectRef],
    hosts: &[String],
    rules: &'i [Entry],
    scope: &Scope<'_>,
    findings: &mut Findings<'_>,
    rule: impl FnMut(&'i Entry, &FieldPath<'_>, &mut Findings<'_>) -> Option<Rule>,
) -> Option<Arc<HttpRouteObject>> {
    let root = FieldPath::ROOT;
    let path = root.field("spec");
    let parents = parents(refs, &path, scope, findings);
    let hostnames = hostnames(hosts, &path, findings);
    let rules = each(rules, &path.field("rules"), findings, rule);
    Some(Arc::new(HttpRouteObject {
        meta: scope.meta.clone(),
        parents: parents?,
        hostnames: hostnames?,
        rules: rules?,
    }))
}

fn rule(
    wire: &WireHttpRule,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
    findings: &mut Findings<'_>,
) -> Option<Rule> {
    let sessions = without_sessions(wire.session_persistence.as_ref(), path, findings);
    let matches = matches_of(&wire.matches, path, findings, http_match);
    let retries = wire.retry.as_ref();
    let retries = retries.map(|wire| retry::read(wire, &path.field("retry"), findings));
    let (filters, backends) = (&wire.filters, &wire.backend_refs);
    let rule = rule_of(matches, filters, backends, path, scope, findings);
    sessions?;
    let retries = match retries {
        Some(retries) => Some(retries?),
        None => None,
    };
    let timeouts = wire.timeouts.as_ref();
    let limit = |of: fn(&WireTimeouts) -> Option<GoDuration>| {
        let limit = timeouts.and_then(of).map(|limit| limit.0);
        limit.filter(|limit| !limit.is_zero())
    };
    Some(Rule {
        timeout: limit(|timeouts| timeouts.request),
        retries: limited(retries, limit(|timeouts| timeouts.backend_request)),
        ..rule?
    })
}

/// A rule without limits.
pub(super) fn rule_of(
    matches: Option<Vec<Match>>,
    filters: &[WireFilter],
    backends: &[WireBackend],
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
    findings: &mut Findings<'_>,
) -> Option<Rule> {
    let mut rule = Rule {
        matches: Vec::new(),
        headers: HeaderOperations::default(),
        mirrors: Vec::new(),
        redirect: None,
        rewrite: None,
        backends: Vec::new(),
        timeout: None,
        retries: None,
        cors: None,
    };
    let filters = each(
        filters,
        &path.field("filters"),
        findings,
        |wire, at, findings| filter::read(wire, &mut rule, at, scope, findings),
    );
    let backends = each(
        backends,
        &path.field("backendRefs"),
        findings,
        |wire, at, findings| backend::read(wire, at, scope, findings),
    );
    filters?;
    Some(Rule {
        matches: matches?,
        backends: backends?,
        ..rule
    })
}

fn http_match(
    wire: &WireHttpMatch,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<Match> {
    let matched = path_match(wire.path.as_ref(), &path.field("path"), findings);
    let headers = named(&wire.headers, &path.field("headers"), findings);
    let parameters = named(&wire.query_params, &path.field("queryParams"), findings);
    let matched = matched?;
    let length = match &matched {
        PathMatch::Exact(path) | PathMatch::Prefix(path) | PathMatch::Regex(path) => path.len(),
    };
    let method = wire.method.as_deref();
    Some(Match {
        path: matched,
        lengths: (length, 0),
        rest: HttpMatch {
            method: method.map(|method| StringMatch::Exact(method.into())),
            headers: lower_case(headers?),
            query_params: parameters?,
            ..HttpMatch::default()
        },
    })
}

fn path_match(
    wire: Option<&WirePathMatch>,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<PathMatch> {
    let kind = wire.and_then(|wire| wire.r#type.as_deref());
    let value = wire.and_then(|wire| wire.value.as_deref()).unwrap_or("/");
    match kind {
        None | Some("PathPrefix") => Some(PathMatch::Prefix(value.trim_end_matches('/').into())),
        Some("Exact") => Some(PathMatch::Exact(value.into())),
        Some("RegularExpression") => {
            rules::written_regex(value, path, findings).map(PathMatch::Regex)
        }
        Some(other) => {
            let message = format!("path type \"{other}\" is not supported");
            findings.error(path, message);
            None
        }
    }
}
