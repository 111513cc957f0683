//! Which hosts exist, and which subsets they have.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mesh_api::hostname::Hostname;
use mesh_api::service::Service;

use crate::normalize::Model;
use crate::store::Store;

/// Registered hosts and the subsets that rules define for them.
#[derive(Debug, Default)]
pub(super) struct Hosts<'a> {
    exact: BTreeMap<String, Vec<&'a Service>>,
    wildcard: Vec<(&'a Hostname, &'a Service)>,
    subsets: BTreeMap<String, BTreeSet<Arc<str>>>,
}

impl<'a> Hosts<'a> {
    pub(super) fn of(store: &'a Store) -> Self {
        let mut hosts = Self::default();
        for object in store.objects() {
            match &object.model {
                Model::Service(service) => hosts.register(service),
                Model::ServiceEntry(entry) => {
                    entry
                        .services
                        .iter()
                        .for_each(|service| hosts.register(service));
                }
                Model::DestinationRule(rule) => {
                    let names = rule.subsets.iter().map(|subset| subset.name.clone());
                    hosts
                        .subsets
                        .entry(rule.host.as_str().to_owned())
                        .or_default()
                        .extend(names);
                }
                _ => {}
            }
        }
        hosts
    }

    fn register(&mut self, service: &'a Service) {
        match service.hostname.is_wildcard() {
            true => self.wildcard.push((&service.hostname, service)),
            false => {
                let name = service.hostname.as_str().to_owned();
                self.exact.entry(name).or_default().push(service);
            }
        }
    }

    /// The services of a host that a namespace can see.
    pub(super) fn visible(&self, host: &Hostname, namespace: &str) -> Vec<&'a Service> {
        let exact = self.exact.get(host.as_str()).into_iter().flatten().copied();
        let covering = self
            .wildcard
            .iter()
            .filter(|(pattern, _)| pattern.covers(host));
        let all = exact.chain(covering.map(|(_, service)| *service));
        all.filter(|service| {
            service.visibility.includes(namespace) || &*service.meta.key.namespace == namespace
        })
        .collect()
    }

    /// True if someone registered the host, visible or not.
    pub(super) fn exists(&self, host: &Hostname) -> bool {
        self.exact.contains_key(host.as_str())
            || self
                .wildcard
                .iter()
                .any(|(pattern, _)| pattern.covers(host))
    }

    /// Hosts that a wildcard stands for.
    pub(super) fn any_covered(&self, pattern: &Hostname) -> bool {
        let exact = self
            .exact
            .values()
            .flatten()
            .map(|service| &service.hostname);
        exact
            .chain(self.wildcard.iter().map(|(host, _)| *host))
            .any(|host| pattern.overlaps(host))
    }

    /// The subsets that some rule defines for a host.
    pub(super) fn subsets(&self, host: &Hostname) -> BTreeSet<Arc<str>> {
        self.subsets.get(host.as_str()).cloned().unwrap_or_default()
    }

    /// All exact hosts, for advice.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.exact.keys().map(String::as_str)
    }
}
