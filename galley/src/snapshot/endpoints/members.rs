//! Which pods and machines the ServiceEntries with selectors choose.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mesh_api::labels::{Labels, Selector};
use mesh_api::resource::ResourceKey;

use crate::kinds::Model;
use crate::object::Object;
use crate::store::Store;

/// Members by entry, and entries by what they select.
#[derive(Debug, Default)]
pub(super) struct Members {
    entries: BTreeMap<ResourceKey, Entry>,
    /// Each entry under one label of its selector, or under none.
    by_label: BTreeMap<Place, BTreeSet<ResourceKey>>,
    /// Labels of the pods and machines that are members of some entry.
    labels: BTreeMap<ResourceKey, Labels>,
}

/// A namespace and a label.
type Place = (Arc<str>, Option<(String, String)>);

#[derive(Debug)]
struct Entry {
    selector: Selector,
    members: BTreeSet<ResourceKey>,
}

impl Members {
    /// The members of an entry, machines after pods.
    pub(super) fn of_entry(&self, entry: &ResourceKey) -> impl Iterator<Item = &ResourceKey> {
        let entry = self.entries.get(entry);
        entry.into_iter().flat_map(|entry| &entry.members)
    }

    /// The entries that a pod or machine is a member of.
    pub(super) fn of(&self, member: &ResourceKey) -> BTreeSet<ResourceKey> {
        match self.labels.get(member) {
            Some(labels) => self.selecting(&member.namespace, labels),
            None => BTreeSet::new(),
        }
    }

    /// Takes a new version of a ServiceEntry in.
    pub(super) fn set_entry(
        &mut self,
        key: &ResourceKey,
        object: Option<&Arc<Object>>,
        store: &Store,
    ) {
        if let Some(before) = self.entries.remove(key) {
            let place = place(key, &before.selector);
            if let Some(entries) = self.by_label.get_mut(&place) {
                entries.remove(key);
                if entries.is_empty() {
                    self.by_label.remove(&place);
                }
            }
        }
        let Some(Model::ServiceEntry(entry)) = object.map(|object| &object.model) else {
            return;
        };
        let Some(selector) = &entry.selector else {
            return;
        };
        let kinds = ["Pod", "WorkloadEntry"].into_iter();
        let all = kinds.flat_map(|kind| store.of_namespace(kind, &key.namespace));
        let mut members = BTreeSet::new();
        for object in all {
            if let Some(labels) = labels(object).filter(|labels| selector.matches(labels)) {
                members.insert(object.meta.key.clone());
                self.labels.insert(object.meta.key.clone(), labels.clone());
            }
        }
        let entries = self.by_label.entry(place(key, selector)).or_default();
        entries.insert(key.clone());
        let entry = Entry {
            selector: selector.clone(),
            members,
        };
        self.entries.insert(key.clone(), entry);
    }

    /// Takes a new version of a pod or machine in. The entries that select it or did.
    pub(super) fn update(
        &mut self,
        key: &ResourceKey,
        before: Option<&Arc<Object>>,
        after: Option<&Arc<Object>>,
    ) -> BTreeSet<ResourceKey> {
        let mut touched = BTreeSet::new();
        if let Some(labels) = before.and_then(|object| labels(object)) {
            for entry in self.selecting(&key.namespace, labels) {
                if let Some(entry) = self.entries.get_mut(&entry) {
                    entry.members.remove(key);
                }
                touched.insert(entry);
            }
        }
        self.labels.remove(key);
        if let Some(labels) = after.and_then(|object| labels(object)) {
            let selecting = self.selecting(&key.namespace, labels);
            if !selecting.is_empty() {
                self.labels.insert(key.clone(), labels.clone());
            }
            for entry in selecting {
                if let Some(entry) = self.entries.get_mut(&entry) {
                    entry.members.insert(key.clone());
                }
                touched.insert(entry);
            }
        }
        touched
    }

    fn selecting(&self, namespace: &Arc<str>, labels: &Labels) -> BTreeSet<ResourceKey> {
        let own = labels.iter();
        let own = own.map(|(name, value)| Some((name.to_owned(), value.to_owned())));
        let places = own.chain([None]).map(|label| (namespace.clone(), label));
        let candidates = places.filter_map(|place| self.by_label.get(&place));
        candidates
            .flatten()
            .filter(|entry| {
                let entry = self.entries.get(*entry);
                entry.is_some_and(|entry| entry.selector.matches(labels))
            })
            .cloned()
            .collect()
    }
}

fn place(key: &ResourceKey, selector: &Selector) -> Place {
    let label = selector.labels().iter().next();
    let label = label.map(|(name, value)| (name.to_owned(), value.to_owned()));
    (key.namespace.clone(), label)
}

fn labels(object: &Object) -> Option<&Labels> {
    match &object.model {
        Model::Pod(pod) => Some(&pod.workload.labels),
        Model::Machine(machine) => Some(&machine.labels),
        _ => None,
    }
}
