//! `when[]`: attributes of the request and of the connection.

use std::sync::Arc;

use mesh_api::authz::{Condition, ConditionKey, Values};

use super::text::{port, short, string};
use crate::kinds::findings::Findings;
use crate::kinds::rules::{shared, subnet};
use crate::kinds::wire::wire;
use crate::manifest::path::FieldPath;

wire! {
    #[schemars(extend("required" = ["key"]))]
    WireCondition {
        /// Attribute: request.headers[NAME], source.ip, remote.ip, source.namespace, source.principal,
        /// source.serviceAccount, request.auth.principal, request.auth.audiences, request.auth.presenter,
        /// request.auth.claims[NAME], destination.ip, destination.port or connection.sni.
        key: String,
        /// Values, of which one must match. Required unless notValues is set.
        values: Vec<String>,
        /// Values that must not match.
        not_values: Vec<String>,
    }
}

pub(super) fn read(
    wire: &WireCondition,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<Condition> {
    let key = key(&wire.key, &path.field("key"), findings);
    if wire.values.is_empty() && wire.not_values.is_empty() {
        findings.error(path, "the condition needs values or notValues");
    }
    for (field, values) in [("values", &wire.values), ("notValues", &wire.not_values)] {
        let list = path.field(field);
        for (index, text) in values.iter().enumerate() {
            value(&wire.key, text, &list.index(index), findings);
        }
    }
    Some(Condition {
        key: key?,
        values: Values {
            any: shared(&wire.values),
            none: shared(&wire.not_values),
        },
    })
}

fn value(key: &str, text: &str, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    match key {
        "source.ip" | "remote.ip" | "destination.ip" => {
            subnet(text, path, findings);
        }
        "destination.port" => {
            if port(text, path, findings).is_some() {
                string(text, path, findings);
            }
        }
        "source.namespace" => {
            string(text, path, findings);
            short(text, path, findings);
        }
        _ => {
            string(text, path, findings);
        }
    }
}

fn key(text: &str, path: &FieldPath<'_>, findings: &mut Findings<'_>) -> Option<ConditionKey> {
    if text.starts_with("experimental.envoy.filters.") {
        findings.refuse_unsupported(path, "conditions on filter metadata are not supported yet");
        return None;
    }
    if text == "source.trustDomain" {
        findings.refuse_unsupported(path, "matching by trust domain is not supported yet");
        return None;
    }
    let key = attribute(text);
    if key.is_none() {
        findings
            .error(path, format!("\"{text}\" is not a known attribute"))
            .suggest(
                "for example request.headers[NAME], source.namespace, request.auth.claims[NAME]",
            );
    }
    key
}

fn attribute(text: &str) -> Option<ConditionKey> {
    let bracketed = |prefix: &str| {
        text.strip_prefix(prefix)?
            .strip_prefix('[')?
            .strip_suffix(']')
    };
    if let Some(name) = bracketed("request.headers") {
        let legal = !name.is_empty() && !name.contains(['[', ']']);
        return legal.then(|| ConditionKey::RequestHeader(name.to_ascii_lowercase().into()));
    }
    if let Some(claims) = bracketed("request.auth.claims") {
        let path: Vec<Arc<str>> = claims.split("][").map(Arc::from).collect();
        let legal = path
            .iter()
            .all(|part| !part.is_empty() && !part.contains(['[', ']']));
        return legal.then_some(ConditionKey::RequestClaim(path));
    }
    Some(match text {
        "source.ip" => ConditionKey::SourceIp,
        "remote.ip" => ConditionKey::RemoteIp,
        "source.namespace" => ConditionKey::SourceNamespace,
        "source.principal" => ConditionKey::SourcePrincipal,
        "source.serviceAccount" => ConditionKey::SourceServiceAccount,
        "request.auth.principal" => ConditionKey::RequestPrincipal,
        "request.auth.audiences" => ConditionKey::RequestAudiences,
        "request.auth.presenter" => ConditionKey::RequestPresenter,
        "destination.ip" => ConditionKey::DestinationIp,
        "destination.port" => ConditionKey::DestinationPort,
        "connection.sni" => ConditionKey::ConnectionSni,
        _ => return None,
    })
}
