//! Rules of `AuthorizationPolicy`. Source: Istio
//! `validation.ValidateAuthorizationPolicy`.

use mesh_api::resource::Meta;

use super::{Findings, rules};
use crate::crd::authorization_policy::{
    Action, AuthorizationPolicy, Condition, Operation, Rule, Source,
};
use crate::manifest::path::FieldPath;
use crate::normalize::condition_key;

/// Namespaces and templates of paths become expressions with up to four states for a character.
const PATTERN_BYTES_MAX: usize = 8192;

pub(super) fn validate(
    spec: &AuthorizationPolicy,
    meta: &Meta,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) {
    let refs = &spec.target_refs;
    rules::attachment(
        spec.selector.as_ref(),
        spec.target_ref.as_ref(),
        refs,
        path,
        findings,
    );
    provider(spec, path, findings);
    if spec.action == Action::Audit {
        let message = "auditing is not supported yet: the policy has no effect";
        findings.without_effect(&path.field("action"), message);
    }
    let at = path.field("rules");
    match spec.action {
        Action::Allow if spec.rules.is_empty() => {}
        _ if spec.rules.is_empty() => {
            findings
                .error(
                    &at,
                    "an action other than ALLOW needs rules, or it never has an effect",
                )
                .suggest("write rules: [{}] to match every request");
        }
        _ => {}
    }
    if meta
        .annotations
        .get("istio.io/dry-run")
        .is_some_and(|v| !matches!(v, "true" | "false"))
    {
        findings.error(
            &FieldPath::ROOT.field("metadata").field("annotations"),
            "annotation \"istio.io/dry-run\" is neither \"true\" nor \"false\"",
        );
    }
    for (index, rule) in spec.rules.iter().enumerate() {
        validate_rule(rule, &at.index(index), findings);
    }
}

fn provider(spec: &AuthorizationPolicy, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    let at = path.field("provider");
    let name = spec
        .provider
        .as_ref()
        .map(|provider| provider.name.as_str());
    match (spec.action, name) {
        (Action::Custom, None | Some("")) => {
            findings
                .error(&at, "action CUSTOM needs a provider")
                .suggest("add provider: {name: NAME} of meshConfig.extensionProviders");
        }
        (Action::Custom, Some(_)) => findings.without_effect(
            &at,
            "external authorization is not supported yet: requests that the rules match are denied",
        ),
        (_, Some(_)) => {
            findings.error(&at, "a provider is used only with action CUSTOM");
        }
        (_, None) => {}
    }
}

fn validate_rule(rule: &Rule, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    for (index, from) in rule.from.iter().enumerate() {
        let list = path.field("from");
        let item = list.index(index);
        let at = item.field("source");
        match &from.source {
            Some(source) if *source != Source::default() => validate_source(source, &at, findings),
            _ => {
                findings
                    .error(&at, "the source is empty")
                    .suggest("leave \"from\" out to match every source");
            }
        }
    }
    for (index, to) in rule.to.iter().enumerate() {
        let list = path.field("to");
        let item = list.index(index);
        let at = item.field("operation");
        match &to.operation {
            Some(operation) if *operation != Operation::default() => {
                validate_operation(operation, &at, findings);
            }
            _ => {
                findings
                    .error(&at, "the operation is empty")
                    .suggest("leave \"to\" out to match every operation");
            }
        }
    }
    for (index, condition) in rule.when.iter().enumerate() {
        validate_condition(condition, &path.field("when").index(index), findings);
    }
}

fn validate_source(source: &Source, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    for (field, values) in [
        ("principals", &source.principals),
        ("notPrincipals", &source.not_principals),
        ("requestPrincipals", &source.request_principals),
        ("notRequestPrincipals", &source.not_request_principals),
        ("namespaces", &source.namespaces),
        ("notNamespaces", &source.not_namespaces),
    ] {
        let at = path.field(field);
        strings(values, &at, findings);
        if field.ends_with("amespaces") {
            for (index, value) in values.iter().enumerate() {
                short(value, &at.index(index), findings);
            }
        }
    }
    for (field, values) in [
        ("serviceAccounts", &source.service_accounts),
        ("notServiceAccounts", &source.not_service_accounts),
    ] {
        for (index, value) in values.iter().enumerate() {
            let legal = value.split('/').count() <= 2
                && value
                    .split('/')
                    .all(|part| !part.is_empty() && !part.contains('*'));
            if !legal {
                findings
                    .error(
                        &path.field(field).index(index),
                        format!("\"{value}\" is not a service account"),
                    )
                    .suggest("write NAMESPACE/NAME or NAME, without wildcards");
            }
        }
    }
    let by_account = !source.service_accounts.is_empty() || !source.not_service_accounts.is_empty();
    let by_other = [
        &source.principals,
        &source.not_principals,
        &source.namespaces,
        &source.not_namespaces,
    ];
    if by_account && by_other.iter().any(|values| !values.is_empty()) {
        findings.error(path, "service accounts exclude principals and namespaces");
    }
    for (field, values) in [
        ("ipBlocks", &source.ip_blocks),
        ("notIpBlocks", &source.not_ip_blocks),
        ("remoteIpBlocks", &source.remote_ip_blocks),
        ("notRemoteIpBlocks", &source.not_remote_ip_blocks),
    ] {
        for (index, value) in values.iter().enumerate() {
            rules::subnet(value, &path.field(field).index(index), findings);
        }
    }
    for (field, values) in [
        ("trustDomains", &source.trust_domains),
        ("notTrustDomains", &source.not_trust_domains),
    ] {
        if !values.is_empty() {
            let message = "matching by trust domain is not supported yet";
            findings.refuse_unsupported(&path.field(field), message);
        }
    }
}

fn validate_operation(operation: &Operation, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    for (field, values) in [
        ("hosts", &operation.hosts),
        ("notHosts", &operation.not_hosts),
        ("methods", &operation.methods),
        ("notMethods", &operation.not_methods),
    ] {
        strings(values, &path.field(field), findings);
    }
    for (field, values) in [
        ("ports", &operation.ports),
        ("notPorts", &operation.not_ports),
    ] {
        for (index, value) in values.iter().enumerate() {
            if !value.parse::<u16>().is_ok_and(|port| port > 0) {
                let message = format!("\"{value}\" is not a port between 1 and 65535");
                findings.error(&path.field(field).index(index), message);
            }
        }
    }
    for (field, values) in [
        ("paths", &operation.paths),
        ("notPaths", &operation.not_paths),
    ] {
        for (index, value) in values.iter().enumerate() {
            validate_path(value, &path.field(field).index(index), findings);
        }
    }
}

/// Text with a star at one end, or a template of `{*}` and a final `{**}`.
fn validate_path(text: &str, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    if !text.contains(['{', '}']) {
        string(text, path, findings);
        return;
    }
    short(text, path, findings);
    let segments: Vec<&str> = text.split('/').skip(1).collect();
    let last = segments.len().saturating_sub(1);
    let legal = text.starts_with('/')
        && segments
            .iter()
            .enumerate()
            .all(|(index, segment)| match *segment {
                "{*}" => true,
                "{**}" => index == last,
                literal => !literal.contains(['{', '}', '*']),
            });
    if !legal {
        findings
            .error(path, format!("\"{text}\" is not a path template"))
            .suggest("{*} stands for one whole segment, {**} for the rest at the end");
    }
}

fn validate_condition(condition: &Condition, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    let at = path.field("key");
    if condition.key.starts_with("experimental.envoy.filters.") {
        findings.refuse_unsupported(&at, "conditions on filter metadata are not supported yet");
    } else if condition.key == "source.trustDomain" {
        findings.refuse_unsupported(&at, "matching by trust domain is not supported yet");
    } else if condition_key(&condition.key).is_none() {
        findings
            .error(
                &at,
                format!("\"{}\" is not a known attribute", condition.key),
            )
            .suggest(
                "for example request.headers[NAME], source.namespace, request.auth.claims[NAME]",
            );
    }
    if condition.values.is_empty() && condition.not_values.is_empty() {
        findings.error(path, "the condition needs values or notValues");
    }
    for (field, values) in [
        ("values", &condition.values),
        ("notValues", &condition.not_values),
    ] {
        for (index, value) in values.iter().enumerate() {
            let list = path.field(field);
            let at = list.index(index);
            match condition.key.as_str() {
                "source.ip" | "remote.ip" | "destination.ip" => rules::subnet(value, &at, findings),
                "destination.port" if !value.parse::<u16>().is_ok_and(|port| port > 0) => {
                    findings.error(
                        &at,
                        format!("\"{value}\" is not a port between 1 and 65535"),
                    );
                }
                "source.namespace" => {
                    string(value, &at, findings);
                    short(value, &at, findings);
                }
                _ => string(value, &at, findings),
            }
        }
    }
}

/// Values that become expressions, whose programs have a limit in the proxy.
///
/// Differs from Istio, which takes any length. No namespace and no path that a proxy accepts is that long.
fn short(value: &str, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    if value.len() > PATTERN_BYTES_MAX {
        let message = format!("the value is longer than {PATTERN_BYTES_MAX} characters");
        findings.error(path, message);
    }
}

fn strings(values: &[String], path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    for (index, value) in values.iter().enumerate() {
        string(value, &path.index(index), findings);
    }
}

fn string(value: &str, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    if value.is_empty() {
        findings.error(path, "the value is empty");
    }
    let inner = value.strip_prefix('*').unwrap_or(value);
    let inner = if inner.len() == value.len() {
        inner.strip_suffix('*').unwrap_or(inner)
    } else {
        inner
    };
    if inner.contains('*') && value != "*" {
        findings
            .warn(
                path,
                format!("the star inside of \"{value}\" is taken literally"),
            )
            .suggest("a wildcard may stand at the beginning or at the end, not both");
    }
}
