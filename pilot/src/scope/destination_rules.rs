//! Which DestinationRule applies to a service, as its clients see it.
//!
//! The client's namespace is asked first, then the service's, then the root namespace; the first
//! that has a rule for the host decides alone. Within a namespace the most specific host wins,
//! rules of equal host merge: the oldest gives the policy, all give subsets.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mesh_api::hostname::Hostname;
use mesh_api::labels::Selector;
use mesh_api::resource::ResourceKey;
use mesh_api::service::Service;
use mesh_api::snapshot::Snapshot;
use mesh_api::traffic_policy::{DestinationRule, Subset, TrafficPolicy};

use rpds::RedBlackTreeMapSync;

use super::ScopeKey;
use crate::shared::Shared;
use crate::world::delta::Changed;

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

    /// The object.
    pub(crate) fn key(&self) -> &ResourceKey {
        &self.0.meta.key
    }

    /// The object, for people: `/apis/…/destination-rule/NAME`.
    pub(crate) fn config_path(&self) -> String {
        let (namespace, name) = (self.0.meta.namespace(), self.0.meta.name());
        format!("/apis/networking.istio.io/v1/namespaces/{namespace}/destination-rule/{name}")
    }
}

/// All rules that a group of proxies may see, by namespace and host. A changed set shares what did
/// not change.
#[derive(Clone, Debug)]
pub(super) struct DestinationRules {
    client_namespace: String,
    root_namespace: Arc<str>,
    by_namespace: RedBlackTreeMapSync<Arc<str>, OfNamespace>,
}

#[derive(Clone, Debug)]
struct OfNamespace {
    by_host: RedBlackTreeMapSync<Hostname, OfHost>,
    wildcards: BTreeSet<Hostname>,
}

/// The rules of one namespace for one host, oldest first, and what they come to.
#[derive(Clone, Debug)]
struct OfHost {
    rules: Vec<Arc<DestinationRule>>,
    merged: Rule,
}

impl DestinationRules {
    /// The rules of a snapshot that are exported to these proxies.
    pub(super) fn new(snapshot: &Snapshot, key: &ScopeKey) -> Self {
        let mut by_namespace = RedBlackTreeMapSync::new_sync();
        for (namespace, rules) in snapshot.destination_rules.iter() {
            let mut by_host: BTreeMap<Hostname, Vec<Arc<DestinationRule>>> = BTreeMap::new();
            for rule in rules.iter().filter(|rule| is_visible(rule, key)) {
                let of_host = by_host.entry(rule.host.clone()).or_default();
                of_host.push(Arc::clone(rule));
            }
            let mut of_namespace = OfNamespace::default();
            for (host, rules) in by_host {
                of_namespace.set(host, rules);
            }
            by_namespace.insert_mut(Arc::clone(namespace), of_namespace);
        }
        Self {
            client_namespace: key.namespace.clone(),
            root_namespace: Arc::clone(&snapshot.mesh.root_namespace),
            by_namespace,
        }
    }

    /// Takes a change in. Returns the hosts of which it may say something.
    pub(super) fn apply(
        &mut self,
        key: &ScopeKey,
        change: &Changed<DestinationRule>,
    ) -> BTreeSet<Hostname> {
        let mut hosts = BTreeSet::new();
        for (rule, is_new) in [(&change.before, false), (&change.after, true)] {
            let Some(rule) = rule.as_ref().filter(|rule| is_visible(rule, key)) else {
                continue;
            };
            let namespace = &rule.meta.key.namespace;
            let of_namespace = self.by_namespace.get(namespace).cloned();
            let mut of_namespace = of_namespace.unwrap_or_default();
            let of_host = of_namespace.by_host.get(&rule.host);
            let mut rules = of_host.map_or_else(Vec::new, |of_host| of_host.rules.clone());
            rules.retain(|known| known.meta.key != rule.meta.key);
            if is_new {
                rules.push(Arc::clone(rule));
                rules.sort_by(|a, b| a.meta.age_order().cmp(&b.meta.age_order()));
            }
            of_namespace.set(rule.host.clone(), rules);
            self.by_namespace
                .insert_mut(Arc::clone(namespace), of_namespace);
            hosts.insert(rule.host.clone());
        }
        hosts
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
            if let Some(of_host) = rules.by_host.get(&service.hostname) {
                return Some(of_host.merged.clone());
            }
            let best = service.hostname.best_match(rules.wildcards.iter())?;
            rules
                .by_host
                .get(best)
                .map(|of_host| of_host.merged.clone())
        })
    }
}

impl Default for OfNamespace {
    fn default() -> Self {
        Self {
            by_host: RedBlackTreeMapSync::new_sync(),
            wildcards: BTreeSet::new(),
        }
    }
}

impl OfNamespace {
    /// Sets the rules of a host.
    fn set(&mut self, host: Hostname, rules: Vec<Arc<DestinationRule>>) {
        if rules.is_empty() {
            self.by_host.remove_mut(&host);
            self.wildcards.remove(&host);
            return;
        }
        if host.is_wildcard() {
            self.wildcards.insert(host.clone());
        }
        let merged = merge(&rules);
        self.by_host.insert_mut(host, OfHost { rules, merged });
    }
}

fn is_visible(rule: &DestinationRule, key: &ScopeKey) -> bool {
    let selects = |selector: &Selector| {
        rule.meta.namespace() == key.namespace && selector.matches(&key.labels)
    };
    rule.visibility.includes(&key.namespace) && rule.workload_selector.as_ref().is_none_or(selects)
}

/// What the rules of one host come to, oldest first in, subsets united.
///
/// A rule for selected clients comes before the general one: it overlays its blocks.
fn merge(rules: &[Arc<DestinationRule>]) -> Rule {
    if let [only] = rules {
        return Rule(Shared::from(only));
    }
    let (selected, general): (Vec<&Arc<DestinationRule>>, Vec<_>) = rules
        .iter()
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
