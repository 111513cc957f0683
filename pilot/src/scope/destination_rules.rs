//! Which DestinationRule applies to a service, as its clients see it.
//!
//! The client's namespace is asked first, then the service's, then the root namespace; the first
//! that has a rule for the host decides alone. Within a namespace the most specific host wins,
//! rules of equal host merge: the oldest gives the policy, all give subsets.

use std::collections::BTreeMap;
use std::sync::Arc;

use mesh_api::hostname::Hostname;
use mesh_api::service::Service;
use mesh_api::snapshot::Snapshot;
use mesh_api::traffic_policy::{DestinationRule, Subset, TrafficPolicy};

use super::ScopeKey;
use crate::shared::Shared;

/// What destination rules say about one service.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rule(Shared<DestinationRule>);

impl Rule {
    /// The policy for the whole service.
    pub(crate) fn policy(&self) -> &TrafficPolicy {
        &self.0.policy
    }

    /// The subsets.
    pub(crate) fn subsets(&self) -> &[Subset] {
        &self.0.subsets
    }

    /// A subset by name.
    pub(crate) fn subset(&self, name: &str) -> Option<&Subset> {
        self.0.subsets.iter().find(|subset| &*subset.name == name)
    }

    /// The policy for a subset, or for the whole service.
    pub(crate) fn effective(&self, subset: Option<&str>) -> TrafficPolicy {
        match subset.and_then(|name| self.subset(name)) {
            Some(subset) => self.policy().overlaid(&subset.policy),
            None => self.policy().clone(),
        }
    }

    /// The object, for people: `/apis/…/destination-rule/NAME`.
    pub(crate) fn config_path(&self) -> String {
        let (namespace, name) = (self.0.meta.namespace(), self.0.meta.name());
        format!("/apis/networking.istio.io/v1/namespaces/{namespace}/destination-rule/{name}")
    }
}

/// All rules that a group of proxies may see, by namespace and host.
#[derive(Debug)]
pub(super) struct DestinationRules {
    client_namespace: String,
    root_namespace: Arc<str>,
    by_namespace: BTreeMap<Arc<str>, BTreeMap<Hostname, Rule>>,
}

impl DestinationRules {
    /// The rules of a snapshot that are exported to these proxies.
    pub(super) fn new(snapshot: &Snapshot, key: &ScopeKey) -> Self {
        let mut by_namespace = BTreeMap::new();
        for (namespace, rules) in snapshot.destination_rules.iter() {
            let visible = rules.iter().filter(|rule| {
                rule.visibility.includes(&key.namespace)
                    && rule.workload_selector.as_ref().is_none_or(|selector| {
                        rule.meta.namespace() == key.namespace && selector.matches(&key.labels)
                    })
            });
            by_namespace.insert(Arc::clone(namespace), merge(visible));
        }
        Self {
            client_namespace: key.namespace.clone(),
            root_namespace: Arc::clone(&snapshot.mesh.root_namespace),
            by_namespace,
        }
    }

    /// The rule for a service.
    pub(super) fn rule(&self, service: &Service) -> Option<Rule> {
        let namespaces = [
            self.client_namespace.as_str(),
            service.meta.namespace(),
            &self.root_namespace,
        ];
        namespaces.into_iter().find_map(|namespace| {
            let rules = self.by_namespace.get(namespace)?;
            if let Some(rule) = rules.get(&service.hostname) {
                return Some(rule.clone());
            }
            let wildcards = rules.keys().filter(|host| host.is_wildcard());
            let best = service.hostname.best_match(wildcards)?;
            rules.get(best).cloned()
        })
    }
}

/// Rules of one namespace by host, oldest first in, subsets united.
///
/// A rule for selected clients comes before the general one: it overlays its blocks.
fn merge<'r>(rules: impl Iterator<Item = &'r Arc<DestinationRule>>) -> BTreeMap<Hostname, Rule> {
    let mut by_host: BTreeMap<Hostname, Vec<&Arc<DestinationRule>>> = BTreeMap::new();
    for rule in rules {
        by_host.entry(rule.host.clone()).or_default().push(rule);
    }
    by_host
        .into_iter()
        .map(|(host, rules)| (host, merge_host(&rules)))
        .collect()
}

fn merge_host(rules: &[&Arc<DestinationRule>]) -> Rule {
    if let [only] = rules {
        return Rule(Shared::from(*only));
    }
    let (selected, general): (Vec<&Arc<DestinationRule>>, Vec<_>) = rules
        .iter()
        .copied()
        .partition(|rule| rule.workload_selector.is_some());
    let mut ordered = selected.iter().chain(&general);
    let first = ordered.next().expect("a host has at least one rule");
    let mut merged = DestinationRule::clone(first);
    if let (Some(overlay), Some(base)) = (selected.first(), general.first()) {
        merged.policy = base.policy.overlaid(&overlay.policy);
    }
    for rule in ordered {
        for subset in &rule.subsets {
            if merged.subsets.iter().all(|known| known.name != subset.name) {
                merged.subsets.push(subset.clone());
            }
        }
    }
    Rule(Shared(Arc::new(merged)))
}
