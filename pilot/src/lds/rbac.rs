//! Authorization policies as RBAC filters: DENY before ALLOW, one Envoy policy for each rule,
//! named so that a denial tells which object and rule it came from.
//!
//! Rules that ask for what only HTTP has are treated on other connections so that less is
//! allowed: an ALLOW rule is dropped, a DENY rule loses the condition.

mod permission;
mod principal;

use std::collections::HashMap;

use mesh_api::authz::{AuthorizationPolicy, AuthzAction, AuthzRule};
use xds::envoy::network::http_connection_manager::HttpFilter;
use xds::envoy::rbac::{
    Permission, Policy, Principal, Rbac, permission::Rule, principal::Identifier,
};
use xds::envoy::{http, listener, network, rbac};

use super::http_connection_manager::http_filter;
use crate::shared::Shared;
use crate::wire;

/// How a rule is being read.
#[derive(Clone, Copy, Debug)]
struct Reading<'a> {
    /// For requests, or for connections.
    http: bool,
    /// Whether a match allows.
    allow: bool,
    /// Trust domains that count as the own one, which comes first.
    trust_domains: &'a [String],
}

impl Reading<'_> {
    /// What becomes of a condition on requests when there are none: the rule falls (`None`), or
    /// the condition does (`Some`).
    fn without_http<T>(&self) -> Option<Vec<T>> {
        if self.allow { None } else { Some(Vec::new()) }
    }
}

/// One of the two filters.
struct Rules {
    enforced: Option<Rbac>,
    dry_run: Option<Rbac>,
    dry_run_prefix: &'static str,
}

/// The HTTP filters of these policies.
pub(crate) fn http_filters(
    policies: &[Shared<AuthorizationPolicy>],
    trust_domains: &[String],
) -> Vec<HttpFilter> {
    let filters = rules(policies, true, trust_domains)
        .into_iter()
        .map(|rules| http::rbac::Rbac {
            rules: rules.enforced,
            shadow_rules: rules.dry_run,
            shadow_rules_stat_prefix: rules.dry_run_prefix.to_owned(),
            ..Default::default()
        });
    filters
        .map(|config| http_filter("envoy.filters.http.rbac", &config))
        .collect()
}

/// The network filters of these policies.
pub(crate) fn network_filters(
    policies: &[Shared<AuthorizationPolicy>],
    trust_domains: &[String],
) -> Vec<listener::Filter> {
    let filters = rules(policies, false, trust_domains)
        .into_iter()
        .map(|rules| network::rbac::Rbac {
            rules: rules.enforced,
            shadow_rules: rules.dry_run,
            shadow_rules_stat_prefix: rules.dry_run_prefix.to_owned(),
            stat_prefix: "tcp.".to_owned(),
            ..Default::default()
        });
    filters
        .map(|config| wire::network_filter("envoy.filters.network.rbac", &config))
        .collect()
}

/// DENY, then ALLOW, each if there is any policy of it.
///
/// Differs from Istio: a CUSTOM policy denies what it matches, since no provider can be asked.
fn rules(
    policies: &[Shared<AuthorizationPolicy>],
    http: bool,
    trust_domains: &[String],
) -> Vec<Rules> {
    let of = |wanted: fn(&AuthzAction) -> bool, allow: bool, dry_run_prefix| {
        let chosen: Vec<_> = policies
            .iter()
            .filter(|policy| wanted(&policy.action))
            .collect();
        let reading = Reading {
            http,
            allow,
            trust_domains,
        };
        let build = |dry_run: bool| {
            let chosen: Vec<_> = chosen
                .iter()
                .filter(|policy| policy.dry_run == dry_run)
                .collect();
            if chosen.is_empty() {
                return None;
            }
            let named = chosen
                .iter()
                .flat_map(|policy| named_rules(policy, reading));
            let action = if allow {
                rbac::rbac::Action::Allow
            } else {
                rbac::rbac::Action::Deny
            };
            Some(Rbac {
                action: action.into(),
                policies: named.collect::<HashMap<_, _>>(),
                ..Default::default()
            })
        };
        let rules = Rules {
            enforced: build(false),
            dry_run: build(true),
            dry_run_prefix,
        };
        (rules.enforced.is_some() || rules.dry_run.is_some()).then_some(rules)
    };
    let denies: fn(&AuthzAction) -> bool =
        |action| matches!(action, AuthzAction::Deny | AuthzAction::Custom { .. });
    let allows: fn(&AuthzAction) -> bool = |action| *action == AuthzAction::Allow;
    [
        of(denies, false, "istio_dry_run_deny_"),
        of(allows, true, "istio_dry_run_allow_"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// `ns[…]-policy[…]-rule[i]` for every rule that can be read.
fn named_rules(
    policy: &AuthorizationPolicy,
    reading: Reading<'_>,
) -> impl Iterator<Item = (String, Policy)> {
    policy
        .rules
        .iter()
        .enumerate()
        .filter_map(move |(index, rule)| {
            let (namespace, name) = (policy.meta.namespace(), policy.meta.name());
            let name = format!("ns[{namespace}]-policy[{name}]-rule[{index}]");
            Some((name, one_rule(rule, reading)?))
        })
}

/// Who and what, each as alternatives; conditions hold for every alternative.
fn one_rule(rule: &AuthzRule, reading: Reading<'_>) -> Option<Policy> {
    let mut who = Vec::new();
    let mut what = Vec::new();
    for condition in &rule.when {
        if permission::is_about(&condition.key) {
            what.extend(permission::condition(condition)?);
        } else {
            who.extend(principal::condition(condition, reading)?);
        }
    }
    let sources = rule
        .from
        .iter()
        .map(|source| principal::source(source, reading))
        .collect::<Option<Vec<_>>>()?;
    let operations = rule
        .to
        .iter()
        .map(|operation| permission::operation(operation, reading))
        .collect::<Option<Vec<_>>>()?;
    let principals = alternatives(sources, &who).map(all_principals).collect();
    let permissions = alternatives(operations, &what)
        .map(all_permissions)
        .collect();
    Some(Policy {
        principals,
        permissions,
        ..Default::default()
    })
}

/// Each alternative with the conditions; without alternatives the conditions alone.
fn alternatives<T: Clone>(
    alternatives: Vec<Vec<T>>,
    conditions: &[T],
) -> impl Iterator<Item = Vec<T>> {
    let alternatives = if alternatives.is_empty() {
        vec![Vec::new()]
    } else {
        alternatives
    };
    alternatives
        .into_iter()
        .map(move |one| [one.as_slice(), conditions].concat())
}

fn all_principals(ids: Vec<Principal>) -> Principal {
    match ids.len() {
        0 => principal::any(),
        1 => ids.into_iter().next().expect("there is one"),
        _ => Principal {
            identifier: Some(Identifier::AndIds(rbac::principal::Set { ids })),
        },
    }
}

fn all_permissions(rules: Vec<Permission>) -> Permission {
    match rules.len() {
        0 => permission::any(),
        1 => rules.into_iter().next().expect("there is one"),
        _ => Permission {
            rule: Some(Rule::AndRules(rbac::permission::Set { rules })),
        },
    }
}
