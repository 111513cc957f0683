//! Subset balancing (`lb_subset_config`): hosts grouped by their `envoy.lb` metadata, each group with a
//! balancer of its own.

use std::collections::HashMap;

use super::{Host, HostSet, Levels};
use crate::config::cluster::{Balancing, SubsetFallback, SubsetOptions};
use crate::config::metadata::Struct;

#[derive(Debug)]
pub(super) struct Subsets {
    groups: HashMap<Struct, Levels>,
    fallback: Option<Levels>,
}

impl Subsets {
    pub(super) fn new(
        options: &SubsetOptions,
        balancing: &Balancing,
        set: &HostSet,
        random: &mut fastrand::Rng,
    ) -> Self {
        let mut groups = HashMap::new();
        let hosts = || {
            set.priorities
                .iter()
                .flatten()
                .flat_map(|locality| &locality.hosts)
        };
        for selector in &options.selectors {
            for group in hosts().filter_map(|host| group_of(host, selector)) {
                if groups.contains_key(&group) {
                    continue;
                }
                let members = set.filtered(|host| group.is_subset_of(labels(host)));
                groups.insert(group, Levels::new(balancing, &members, random));
            }
        }
        let fallback = match &options.fallback {
            SubsetFallback::NoFallback | SubsetFallback::AnyEndpoint => None,
            SubsetFallback::DefaultSubset(default) => {
                let members = set.filtered(|host| default.is_subset_of(labels(host)));
                Some(Levels::new(balancing, &members, random))
            }
        };
        Self { groups, fallback }
    }

    /// The group with exactly the wanted metadata, or the default subset.
    pub(super) fn levels(&mut self, wanted: Option<&Struct>) -> Option<&mut Levels> {
        match wanted.filter(|wanted| self.groups.contains_key(*wanted)) {
            Some(wanted) => self.groups.get_mut(wanted),
            None => self.fallback.as_mut(),
        }
    }
}

fn labels(host: &Host) -> &Struct {
    host.endpoint.metadata.filter("envoy.lb")
}

/// The host's values for all keys of a selector.
fn group_of(host: &Host, selector: &[std::sync::Arc<str>]) -> Option<Struct> {
    let labels = labels(host);
    let values = selector.iter().map(|key| {
        let value = labels.get(key)?;
        Some((Box::from(&**key), value.clone()))
    });
    values.collect()
}
