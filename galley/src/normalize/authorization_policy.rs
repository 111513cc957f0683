//! `AuthorizationPolicy`.

use std::sync::Arc;

use ipnet::IpNet;
use mesh_api::authz::{
    AuthorizationPolicy, AuthzAction, AuthzPath, AuthzRule, AuthzString, Condition, ConditionKey,
    Operation, Source, Values,
};

use super::{Fault, Scope, label_selector, shared};
use crate::crd::authorization_policy as wire;
use crate::manifest::path::FieldPath;
use crate::validate::parse_subnet;

pub(super) fn normalize(
    spec: &wire::AuthorizationPolicy,
    scope: &Scope<'_>,
) -> Result<AuthorizationPolicy, Fault> {
    let root = FieldPath::ROOT;
    let path = root.field("spec");
    let list = path.field("rules");
    let rules = spec
        .rules
        .iter()
        .enumerate()
        .map(|(i, r)| rule(r, &list.index(i), scope));
    Ok(AuthorizationPolicy {
        meta: scope.meta.clone(),
        selector: label_selector(spec.selector.as_ref()),
        action: match spec.action {
            wire::Action::Allow => AuthzAction::Allow,
            wire::Action::Deny => AuthzAction::Deny,
            wire::Action::Audit => AuthzAction::Audit,
            wire::Action::Custom => AuthzAction::Custom {
                provider: spec
                    .provider
                    .as_ref()
                    .map_or("", |p| p.name.as_str())
                    .into(),
            },
        },
        rules: rules.collect::<Result<_, _>>()?,
        dry_run: scope.meta.annotations.get("istio.io/dry-run") == Some("true"),
    })
}

fn rule(wire: &wire::Rule, path: &FieldPath<'_>, scope: &Scope<'_>) -> Result<AuthzRule, Fault> {
    let from = wire
        .from
        .iter()
        .filter_map(|from| from.source.as_ref())
        .enumerate();
    let to = wire
        .to
        .iter()
        .filter_map(|to| to.operation.as_ref())
        .enumerate();
    let when = wire.when.iter().enumerate();
    Ok(AuthzRule {
        from: from
            .map(|(index, s)| source(s, &path.field("from").index(index).field("source"), scope))
            .collect::<Result<_, _>>()?,
        to: to
            .map(|(index, o)| {
                operation(o, &path.field("to").index(index).field("operation"), scope)
            })
            .collect::<Result<_, _>>()?,
        when: when
            .map(|(index, c)| condition(c, &path.field("when").index(index), scope))
            .collect::<Result<_, _>>()?,
    })
}

fn source(wire: &wire::Source, path: &FieldPath<'_>, scope: &Scope<'_>) -> Result<Source, Fault> {
    let blocks = |any: &[String], none: &[String], field: &str| {
        let at = path.field(field);
        Ok::<_, Fault>(Values {
            any: ranges(any, &at, scope)?,
            none: ranges(none, &at, scope)?,
        })
    };
    Ok(Source {
        principals: strings(&wire.principals, &wire.not_principals),
        request_principals: strings(&wire.request_principals, &wire.not_request_principals),
        namespaces: strings(&wire.namespaces, &wire.not_namespaces),
        service_accounts: Values {
            any: accounts(&wire.service_accounts, scope),
            none: accounts(&wire.not_service_accounts, scope),
        },
        ip_blocks: blocks(&wire.ip_blocks, &wire.not_ip_blocks, "ipBlocks")?,
        remote_ip_blocks: blocks(
            &wire.remote_ip_blocks,
            &wire.not_remote_ip_blocks,
            "remoteIpBlocks",
        )?,
    })
}

fn strings(any: &[String], none: &[String]) -> Values<AuthzString> {
    let parse = |texts: &[String]| texts.iter().map(|text| AuthzString::parse(text)).collect();
    Values {
        any: parse(any),
        none: parse(none),
    }
}

/// `namespace/name`, or a name of the policy's own namespace.
fn accounts(texts: &[String], scope: &Scope<'_>) -> Vec<(Arc<str>, Arc<str>)> {
    let account = |text: &String| match text.split_once('/') {
        Some((namespace, name)) => (namespace.into(), name.into()),
        None => (scope.meta.key.namespace.clone(), text.as_str().into()),
    };
    texts.iter().map(account).collect()
}

fn ranges(texts: &[String], path: &FieldPath<'_>, scope: &Scope<'_>) -> Result<Vec<IpNet>, Fault> {
    let range = |text: &String| {
        parse_subnet(text).ok_or_else(|| scope.fault(path, format!("\"{text}\" is not a range")))
    };
    texts.iter().map(range).collect()
}

fn operation(
    wire: &wire::Operation,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
) -> Result<Operation, Fault> {
    let ports = |texts: &[String], field: &str| {
        let port = |text: &String| {
            let message = || format!("\"{text}\" is not a port");
            text.parse::<u16>()
                .map_err(|_| scope.fault(&path.field(field), message()))
        };
        texts.iter().map(port).collect::<Result<Vec<_>, _>>()
    };
    let paths = |texts: &[String]| texts.iter().map(|text| authz_path(text)).collect();
    Ok(Operation {
        hosts: strings(&wire.hosts, &wire.not_hosts),
        ports: Values {
            any: ports(&wire.ports, "ports")?,
            none: ports(&wire.not_ports, "notPorts")?,
        },
        methods: strings(&wire.methods, &wire.not_methods),
        paths: Values {
            any: paths(&wire.paths),
            none: paths(&wire.not_paths),
        },
    })
}

fn authz_path(text: &str) -> AuthzPath {
    match text.contains('{') {
        true => AuthzPath::Template(text.into()),
        false => AuthzPath::Text(AuthzString::parse(text)),
    }
}

fn condition(
    wire: &wire::Condition,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
) -> Result<Condition, Fault> {
    let unknown = || scope.fault(&path.field("key"), format!("\"{}\" is not known", wire.key));
    Ok(Condition {
        key: condition_key(&wire.key).ok_or_else(unknown)?,
        values: Values {
            any: shared(&wire.values),
            none: shared(&wire.not_values),
        },
    })
}

/// An attribute that conditions may look at.
pub(crate) fn condition_key(text: &str) -> Option<ConditionKey> {
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
