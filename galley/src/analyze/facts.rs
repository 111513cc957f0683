//! Facts of all objects, brought up to date by the objects that changed.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use mesh_api::gateway::Gateway;
use mesh_api::resource::{ResourceKey, Visibility};
use mesh_api::route::VirtualService;
use mesh_api::service::Service;

use super::default_policies::{KINDS, selects};
use super::fact::{Fact, Roster, Rosters, Seen, Touched, ends};
use super::near::Names;
use super::selection::{Query, Selections};
use super::served::Served;
use crate::kinds::Model;
use crate::object::Object;

/// What there is to know.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) rosters: Rosters,
    /// By name: the object that registers it, and which of its services it is.
    pub(super) services: HashMap<Arc<str>, BTreeSet<(ResourceKey, usize)>>,
    pub(super) names: Names,
    pub(super) selections: Selections,
    /// What the servers of each Gateway take.
    pub(super) served: HashMap<ResourceKey, Served>,
}

impl Facts {
    /// Takes a new version of an object in; what may be different now goes to `touched`.
    pub(super) fn change(
        &mut self,
        key: &ResourceKey,
        before: Option<&Object>,
        after: Option<&Object>,
        touched: &mut Vec<Touched>,
    ) {
        if matches!(&*key.kind, "Gateway" | "Secret") {
            touched.push(Touched::One(Fact::Object(key.clone())));
        }
        self.change_rosters(before, after, touched);
        self.change_services(key, before, after, touched);
        self.change_selections(key, before, after, touched);
        match after.map(|object| &object.model) {
            Some(Model::Gateway(gateway)) => {
                self.served.insert(key.clone(), Served::by(gateway));
            }
            _ => {
                self.served.remove(key);
            }
        }
    }

    /// What changed in sum: to be called after all changes.
    pub(super) fn settle(&mut self, touched: &mut Vec<Touched>) {
        self.selections.settle(touched);
    }

    fn change_rosters(
        &mut self,
        before: Option<&Object>,
        after: Option<&Object>,
        touched: &mut Vec<Touched>,
    ) {
        let old = before.map(entries).unwrap_or_default();
        let new = after.map(entries).unwrap_or_default();
        for (roster, name) in old.difference(&new) {
            self.rosters.remove(roster, name, touched);
        }
        for (roster, name) in new.difference(&old) {
            self.rosters.add(roster, name, touched);
        }
    }

    fn change_services(
        &mut self,
        key: &ResourceKey,
        before: Option<&Object>,
        after: Option<&Object>,
        touched: &mut Vec<Touched>,
    ) {
        let old = before.map_or(&[][..], services_of);
        let new = after.map_or(&[][..], services_of);
        if old == new {
            return;
        }
        for (index, service) in old.iter().enumerate() {
            let host: Arc<str> = service.hostname.as_str().into();
            if let Some(registered) = self.services.get_mut(&host) {
                registered.remove(&(key.clone(), index));
                if registered.is_empty() {
                    self.services.remove(&host);
                    self.names.remove(&service.hostname, touched);
                }
            }
            touched.push(Touched::One(Fact::Services(host)));
        }
        for (index, service) in new.iter().enumerate() {
            let host: Arc<str> = service.hostname.as_str().into();
            let registered = self.services.entry(host.clone()).or_default();
            if registered.is_empty() {
                self.names.add(&service.hostname, touched);
            }
            registered.insert((key.clone(), index));
            touched.push(Touched::One(Fact::Services(host)));
        }
    }

    fn change_selections(
        &mut self,
        key: &ResourceKey,
        before: Option<&Object>,
        after: Option<&Object>,
        touched: &mut Vec<Touched>,
    ) {
        if &*key.kind == "Pod" {
            let labels = |object: &Object| object.meta.labels.clone();
            let (old, new) = (before.map(labels), after.map(labels));
            if old != new {
                self.selections.change_pod(&key.namespace, old, new);
            }
            return;
        }
        let (old, new) = (before.and_then(Query::of), after.and_then(Query::of));
        if old != new {
            self.selections.change_query(key, old, new, touched);
        }
    }
}

/// The services that an object registers.
pub(super) fn services_of(object: &Object) -> &[Service] {
    match &object.model {
        Model::Service(service) => std::slice::from_ref(&**service),
        Model::ServiceEntry(entry) => &entry.services,
        _ => &[],
    }
}

/// The names that an object puts into rosters.
fn entries(object: &Object) -> BTreeSet<(Roster, Arc<str>)> {
    let mut entries = BTreeSet::new();
    let meta = &object.meta;
    for service in services_of(object) {
        of_service(service, &mut entries);
    }
    match &object.model {
        Model::VirtualService(rule) if rule.applies_to_mesh() => of_rule(rule, &mut entries),
        Model::DestinationRule(rule) => {
            let host: Arc<str> = rule.host.as_str().into();
            for subset in &rule.subsets {
                let name = subset.name.clone();
                entries.insert((Roster::Subset(host.clone(), name.clone()), "".into()));
                entries.insert((Roster::Subsets(host.clone()), name));
            }
        }
        Model::Gateway(gateway) => {
            let Gateway { meta, .. } = &**gateway;
            let roster = Roster::GatewaysNamed(meta.key.name.clone());
            entries.insert((roster, meta.key.namespace.clone()));
        }
        Model::Pod(_) => {
            // One name for each pod would be as many as there are pods.
            entries.insert((Roster::Pods, "".into()));
            entries.insert((Roster::PodsOf(meta.key.namespace.clone()), "".into()));
        }
        _ => {}
    }
    let kind = KINDS.into_iter().find(|kind| *kind == &*meta.key.kind);
    if let Some(kind) = kind.filter(|_| !selects(object)) {
        let roster = Roster::Defaults(kind, meta.key.namespace.clone());
        entries.insert((roster, meta.key.name.clone()));
    }
    entries
}

fn of_service(service: &Service, entries: &mut BTreeSet<(Roster, Arc<str>)>) {
    let host = &service.hostname;
    for end in ends(host) {
        entries.insert((Roster::HostsBelow(end.into()), "".into()));
    }
    if !host.is_wildcard() {
        let text = host.as_str();
        let label = text.split('.').next().unwrap_or(text);
        entries.insert((Roster::HostsOfLabel(label.into()), text.into()));
    }
}

fn of_rule(rule: &VirtualService, entries: &mut BTreeSet<(Roster, Arc<str>)>) {
    let mut seen = match &rule.visibility {
        Visibility::None => return,
        Visibility::Public => vec![Seen::Everywhere],
        Visibility::Namespaces(names) => names.iter().cloned().map(Seen::In).collect(),
    };
    seen.push(Seen::Anywhere);
    let name: Arc<str> = format!("{}/{}", rule.meta.namespace(), rule.meta.name()).into();
    for host in &rule.hosts {
        let host: Arc<str> = host.as_str().into();
        let rosters = seen
            .iter()
            .map(|seen| Roster::Rules(host.clone(), seen.clone()));
        entries.extend(rosters.map(|roster| (roster, name.clone())));
    }
}
