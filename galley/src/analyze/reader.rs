//! What an analyzer may look at. Whatever it reads is noted.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use mesh_api::hostname::Hostname;
use mesh_api::resource::ResourceKey;
use mesh_api::service::Service;

use super::fact::{Fact, Roster};
use super::facts::{Facts, services_of};
use super::near;
use super::selection::Query;
use super::served::Served;
use crate::object::Object;
use crate::store::Store;

/// The mesh as an analyzer sees it.
pub(super) struct Reader<'a> {
    store: &'a Store,
    facts: &'a Facts,
    read: RefCell<BTreeSet<Fact>>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(store: &'a Store, facts: &'a Facts) -> Self {
        Self {
            store,
            facts,
            read: RefCell::default(),
        }
    }

    /// What was read.
    pub(super) fn into_read(self) -> BTreeSet<Fact> {
        self.read.into_inner()
    }

    fn note(&self, fact: Fact) {
        self.read.borrow_mut().insert(fact);
    }

    /// The mesh's root namespace. When it changes, everything is analyzed.
    pub(super) fn root_namespace(&self) -> &str {
        &self.store.mesh().root_namespace
    }

    /// A Gateway or a Secret.
    pub(super) fn object(&self, key: ResourceKey) -> Option<&'a Arc<Object>> {
        let object = self.store.get(&key);
        self.note(Fact::Object(key));
        object
    }

    /// What the servers of a Gateway take, if there is one of this name.
    pub(super) fn gateway(&self, key: ResourceKey) -> Option<&'a Served> {
        let served = self.facts.served.get(&key);
        self.note(Fact::Object(key));
        served
    }

    /// The services that are registered under this very name.
    pub(super) fn services(&self, name: &str) -> impl Iterator<Item = &'a Service> + use<'a> {
        self.note(Fact::Services(name.into()));
        let (store, registered) = (self.store, self.facts.services.get(name));
        registered
            .into_iter()
            .flatten()
            .filter_map(move |(key, index)| {
                let object = store.get(key)?;
                services_of(object).get(*index)
            })
    }

    /// The first names of a roster.
    pub(super) fn roster(&self, roster: Roster) -> Vec<Arc<str>> {
        let names = self.facts.rosters.first(&roster);
        self.note(Fact::Roster(roster));
        names
    }

    /// True if there is a name in the roster.
    pub(super) fn any(&self, roster: Roster) -> bool {
        !self.roster(roster).is_empty()
    }

    /// The registered host in the same domain that was probably meant.
    pub(super) fn nearest(&self, host: &Hostname) -> Option<String> {
        let (label, rest) = host.as_str().split_once('.')?;
        near::facts(label, rest)
            .into_iter()
            .for_each(|fact| self.note(fact));
        let found = self.facts.names.nearest(label, rest)?;
        Some(format!("{found}.{rest}"))
    }

    /// Namespaces of the pods that an object selects.
    pub(super) fn selected_namespaces(&self, query: &Query) -> BTreeSet<Arc<str>> {
        self.note(query.fact());
        self.facts.selections.namespaces(query)
    }

    /// Sidecars that select the same pods.
    pub(super) fn same_sidecars(&self, query: &Query) -> Vec<Arc<str>> {
        self.note(query.fact());
        self.facts.selections.sidecars(query)
    }
}
