//! `GRPCRoute`: the same as an `HTTPRoute` whose paths are `/SERVICE/METHOD`. Source:
//! Istio `createGRPCURIMatch`.

use std::sync::Arc;

use mesh_api::regex::escape;
use mesh_api::route::matcher::HttpMatch;
use serde_json::Value as Json;

use super::http_route::{HttpRouteObject, route_of, rule_of};
use super::path_match::{PathMatch, WireNamedMatch, lower_case, named};
use super::reference::{GROUP, ObjectRef};
use super::rule::{Match, Rule, everything, matches_of, without_sessions};
use super::wire::{WireBackend, WireFilter, WireHeaderModifier, WireMirror};
use crate::kinds::descriptor::Descriptor;
use crate::kinds::findings::Findings;
use crate::kinds::read::Read;
use crate::kinds::rules::{self, some};
use crate::kinds::scope::Scope;
use crate::kinds::wire::wire;
use crate::manifest::path::FieldPath;

wire! {
    GrpcRouteSpec {
        parent_refs: Vec<ObjectRef>,
        hostnames: Vec<String>,
        rules: Vec<WireGrpcRule>,
        use_default_gateways: Option<Json>,
    }

    WireGrpcRule {
        name: Option<String>,
        matches: Vec<WireGrpcMatch>,
        filters: Vec<WireGrpcFilter>,
        backend_refs: Vec<WireGrpcBackend>,
        session_persistence: Option<Json>,
    }

    WireGrpcMatch {
        method: Option<WireMethodMatch>,
        headers: Vec<WireNamedMatch>,
    }

    WireMethodMatch {
        r#type: Option<String>,
        service: Option<String>,
        method: Option<String>,
    }

    WireGrpcFilter {
        r#type: String,
        request_header_modifier: Option<WireHeaderModifier>,
        response_header_modifier: Option<WireHeaderModifier>,
        request_mirror: Option<WireMirror>,
        extension_ref: Option<Json>,
    }

    WireGrpcBackend {
        group: Option<String>,
        kind: Option<String>,
        namespace: Option<String>,
        name: String,
        port: Option<u32>,
        weight: Option<u32>,
        filters: Vec<WireGrpcFilter>,
    }
}

impl Read for GrpcRouteSpec {
    const KIND: Descriptor = Descriptor::custom(GROUP, "GRPCRoute", &["v1", "v1alpha2"]);

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

fn rule(
    wire: &WireGrpcRule,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
    findings: &mut Findings<'_>,
) -> Option<Rule> {
    let sessions = without_sessions(wire.session_persistence.as_ref(), path, findings);
    let matches = matches_of(&wire.matches, path, findings, grpc_match);
    let filters: Vec<_> = wire.filters.iter().map(filter).collect();
    let backends: Vec<_> = wire.backend_refs.iter().map(backend).collect();
    let rule = rule_of(matches, &filters, &backends, path, scope, findings);
    sessions?;
    rule
}

fn grpc_match(
    wire: &WireGrpcMatch,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<Match> {
    let headers = named(&wire.headers, &path.field("headers"), findings);
    let matched = match &wire.method {
        Some(method) => method_match(method, &path.field("method"), findings),
        None => Some(everything()),
    };
    Some(Match {
        rest: HttpMatch {
            headers: lower_case(headers?),
            ..HttpMatch::default()
        },
        ..matched?
    })
}

/// A missing service or method stands for every one.
fn method_match(
    wire: &WireMethodMatch,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<Match> {
    let service = wire.service.as_deref().and_then(some);
    let method = wire.method.as_deref().and_then(some);
    let length = |text: &Option<Arc<str>>| text.as_ref().map_or(0, |text| text.len());
    let lengths = (length(&service), length(&method));
    let exact = match wire.r#type.as_deref() {
        None | Some("Exact") => true,
        Some("RegularExpression") => false,
        Some(other) => {
            let message = format!("method type \"{other}\" is not supported");
            findings.error(&path.field("type"), message);
            return None;
        }
    };
    let matched = match (service, method) {
        (None, None) => {
            findings.error(path, "a service or a method is required");
            return None;
        }
        (Some(service), None) if exact => PathMatch::Prefix(format!("/{service}").into()),
        (Some(service), Some(method)) if exact => {
            PathMatch::Exact(format!("/{service}/{method}").into())
        }
        (None, Some(method)) if exact => {
            let text = format!("/[^/]+/{}", escape(&method));
            PathMatch::Regex(rules::composed_regex(&text, path, findings)?)
        }
        (service, method) => PathMatch::Regex(by_expressions(service, method, path, findings)?),
    };
    Some(Match {
        path: matched,
        lengths,
        rest: HttpMatch::default(),
    })
}

/// Each by itself, so that an alternative in one does not reach into the other. Differs from Istio.
fn by_expressions(
    service: Option<Arc<str>>,
    method: Option<Arc<str>>,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<Arc<str>> {
    let mut whole = |written: Option<Arc<str>>, default: &str| match written {
        Some(text) => {
            let text = rules::written_regex(&text, path, findings)?;
            Some(format!("(?:{text})"))
        }
        None => Some(default.to_owned()),
    };
    let service = whole(service, "[^/]+")?;
    let method = whole(method, ".+")?;
    rules::composed_regex(&format!("/{service}/{method}"), path, findings)
}

/// The same filter as one of HTTP, which knows more.
fn filter(wire: &WireGrpcFilter) -> WireFilter {
    WireFilter {
        r#type: wire.r#type.clone(),
        request_header_modifier: wire.request_header_modifier.clone(),
        response_header_modifier: wire.response_header_modifier.clone(),
        request_mirror: wire.request_mirror.clone(),
        extension_ref: wire.extension_ref.clone(),
        ..WireFilter::default()
    }
}

fn backend(wire: &WireGrpcBackend) -> WireBackend {
    WireBackend {
        group: wire.group.clone(),
        kind: wire.kind.clone(),
        namespace: wire.namespace.clone(),
        name: wire.name.clone(),
        port: wire.port,
        weight: wire.weight,
        filters: wire.filters.iter().map(filter).collect(),
    }
}
