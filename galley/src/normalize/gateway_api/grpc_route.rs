//! `GRPCRoute`: the same as an `HTTPRoute` whose paths are `/SERVICE/METHOD`. Source:
//! Istio `createGRPCURIMatch`.

use mesh_api::regex::escape;
use mesh_api::route::matcher::HttpMatch;

use super::HttpRouteObject;
use super::http_route::{
    Match, PathMatch, Rule, everything, lower_case, matches_of, named, route_of, rule_of,
    without_sessions,
};
use crate::crd::gateway_api as wire;
use crate::manifest::path::FieldPath;
use crate::normalize::{Fault, Scope, some};

pub(in crate::normalize) fn normalize(
    spec: &wire::GrpcRoute,
    scope: &Scope<'_>,
) -> Result<HttpRouteObject, Fault> {
    route_of(&spec.parent_refs, &spec.hostnames, &spec.rules, rule, scope)
}

fn rule(wire: &wire::GrpcRule, path: &FieldPath<'_>, scope: &Scope<'_>) -> Result<Rule, Fault> {
    without_sessions(wire.session_persistence.as_ref(), path, scope)?;
    let matches = matches_of(&wire.matches, grpc_match, path, scope)?;
    let filters: Vec<_> = wire.filters.iter().map(filter).collect();
    let backends: Vec<_> = wire.backend_refs.iter().map(backend).collect();
    rule_of(matches, &filters, &backends, path, scope)
}

fn grpc_match(
    wire: &wire::GrpcMatch,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
) -> Result<Match, Fault> {
    let headers = named(&wire.headers, &path.field("headers"), scope)?;
    let matched = match &wire.method {
        Some(method) => method_match(method, &path.field("method"), scope)?,
        None => everything(),
    };
    Ok(Match {
        rest: HttpMatch {
            headers: lower_case(headers),
            ..HttpMatch::default()
        },
        ..matched
    })
}

/// A missing service or method stands for every one.
fn method_match(
    wire: &wire::MethodMatch,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
) -> Result<Match, Fault> {
    let service = wire.service.as_deref().and_then(some);
    let method = wire.method.as_deref().and_then(some);
    let length = |text: &Option<std::sync::Arc<str>>| text.as_ref().map_or(0, |text| text.len());
    let lengths = (length(&service), length(&method));
    let exact = match wire.r#type.as_deref() {
        None | Some("Exact") => true,
        Some("RegularExpression") => false,
        Some(other) => {
            let message = format!("method type \"{other}\" is not supported");
            return Err(scope.fault(&path.field("type"), message));
        }
    };
    let matched = match (service, method) {
        (None, None) => return Err(scope.fault(path, "a service or a method is required")),
        (Some(service), None) if exact => PathMatch::Prefix(format!("/{service}").into()),
        (Some(service), Some(method)) if exact => {
            PathMatch::Exact(format!("/{service}/{method}").into())
        }
        (None, Some(method)) if exact => {
            let method = escape(&method);
            PathMatch::Regex(scope.composed(&format!("/[^/]+/{method}"), path)?)
        }
        (service, method) => {
            // Each by itself, so that an alternative in one does not reach into the other. Differs from Istio.
            let whole = |text: std::sync::Arc<str>| scope.regex(&text, path);
            let service = service.map(whole).transpose()?;
            let method = method.map(whole).transpose()?;
            let service = service.map_or("[^/]+".to_owned(), |text| format!("(?:{text})"));
            let method = method.map_or(".+".to_owned(), |text| format!("(?:{text})"));
            PathMatch::Regex(scope.composed(&format!("/{service}/{method}"), path)?)
        }
    };
    Ok(Match {
        path: matched,
        lengths,
        rest: HttpMatch::default(),
    })
}

/// The same filter as one of HTTP, which knows more.
fn filter(wire: &wire::GrpcFilter) -> wire::HttpFilter {
    wire::HttpFilter {
        r#type: wire.r#type.clone(),
        request_header_modifier: wire.request_header_modifier.clone(),
        response_header_modifier: wire.response_header_modifier.clone(),
        request_mirror: wire.request_mirror.clone(),
        extension_ref: wire.extension_ref.clone(),
        ..wire::HttpFilter::default()
    }
}

fn backend(wire: &wire::GrpcBackendRef) -> wire::BackendRef {
    wire::BackendRef {
        group: wire.group.clone(),
        kind: wire.kind.clone(),
        namespace: wire.namespace.clone(),
        name: wire.name.clone(),
        port: wire.port,
        weight: wire.weight,
        filters: wire.filters.iter().map(filter).collect(),
    }
}
