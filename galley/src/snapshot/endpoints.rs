//! Services, endpoints and workloads of the snapshot, kept up to date by change.
//!
//! Slices, pods, nodes and WorkloadEntries are joined here. Indexes lead from a
//! changed object to the services it touches; only those are computed again.

mod join;
mod members;
mod registry;
mod slices;
mod workloads;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use mesh_api::endpoint::ServiceEndpoints;
use mesh_api::resource::ResourceKey;
use mesh_api::service::Service;
use mesh_api::snapshot::{ServiceKey, Snapshot};

use self::members::Members;
use self::registry::Registry;
use self::slices::SliceIndex;
use self::workloads::Workloads;
use crate::kinds::Model;
use crate::object::Object;
use crate::store::{Changed, Store};

/// Indexes kept from one snapshot to the next.
#[derive(Debug, Default)]
pub(super) struct Endpoints {
    slices: SliceIndex,
    members: Members,
    registry: Registry,
    workloads: Workloads,
    pods_by_node: BTreeMap<Arc<str>, BTreeSet<ResourceKey>>,
}

/// What an update touched.
#[derive(Debug, Default)]
pub(super) struct Update {
    /// Services whose endpoints changed.
    pub(super) changed: BTreeSet<ServiceKey>,
    /// Objects whose service changed although they did not: other accounts.
    pub(super) accounts: BTreeSet<ResourceKey>,
    /// Addresses whose workload changed.
    pub(super) workloads: BTreeSet<IpAddr>,
}

/// What a change leads to.
#[derive(Debug, Default)]
struct Touched {
    /// Services and ServiceEntries to be computed again.
    sources: BTreeSet<ResourceKey>,
    /// Pods and machines.
    workloads: BTreeSet<ResourceKey>,
    /// Services that are taken from another object now, or from none.
    moved: BTreeSet<ServiceKey>,
}

impl Endpoints {
    /// Brings `next` up to date.
    pub(super) fn update(
        &mut self,
        next: &mut Snapshot,
        changed: &Changed,
        store: &Store,
    ) -> Update {
        let mut touched = Touched::default();
        for (key, before) in &changed.objects {
            self.index(key, before.as_ref(), store, &mut touched);
        }
        if changed.mesh {
            let kinds = ["Pod", "WorkloadEntry"].into_iter();
            let all = kinds.flat_map(|kind| store.of_kind(kind));
            let keys = all.map(|object| object.meta.key.clone());
            touched.workloads.extend(keys);
        }
        let mut update = Update::default();
        for key in &touched.workloads {
            update.workloads.extend(self.workloads.set(key, store));
        }
        update
            .workloads
            .retain(|address| self.workloads.publish(*address, next));
        for service in touched.moved {
            let source = self.move_service(next, service, &mut update);
            touched.sources.extend(source);
        }
        for source in touched.sources {
            if let Some(object) = store.get(&source) {
                let object_changed =
                    changed.objects.contains_key(&source) || update.accounts.contains(&source);
                self.refresh(next, object, store, object_changed, &mut update);
            }
        }
        update
    }

    /// Takes a new version of an object into the indexes.
    fn index(
        &mut self,
        key: &ResourceKey,
        before: Option<&Arc<Object>>,
        store: &Store,
        touched: &mut Touched,
    ) {
        let after = store.get(key);
        match &*key.kind {
            "Service" | "ServiceEntry" => {
                self.members.set_entry(key, after, store);
                let moved = self.registry.update(key, before, after);
                touched.moved.extend(moved);
                touched.sources.insert(key.clone());
            }
            "EndpointSlice" => touched.sources.extend(self.slices.update(key, after)),
            "Pod" | "WorkloadEntry" => {
                self.set_node(key, before, after);
                let entries = self.members.update(key, before, after);
                touched.sources.extend(entries);
                touched.sources.extend(self.slices.of_pod(key));
                touched.workloads.insert(key.clone());
            }
            "Node" => self.of_node(&key.name, touched),
            _ => {}
        }
    }

    /// A service is taken from another object than before, or from none. The object that it is computed from now.
    fn move_service(
        &self,
        next: &mut Snapshot,
        key: ServiceKey,
        update: &mut Update,
    ) -> Option<ResourceKey> {
        if next.services.contains_key(&key) {
            Arc::make_mut(&mut next.services).remove(&key);
        }
        let Some(source) = self.registry.source(&key) else {
            Arc::make_mut(&mut next.endpoints).remove(&key);
            update.changed.insert(key);
            return None;
        };
        update.accounts.insert(source.clone());
        Some(source.clone())
    }

    /// A node's labels are the locality of all of its pods.
    fn of_node(&self, node: &str, touched: &mut Touched) {
        touched.sources.extend(self.slices.of_node(node));
        for pod in self.pods_by_node.get(node).into_iter().flatten() {
            touched.sources.extend(self.slices.of_pod(pod));
            touched.sources.extend(self.members.of(pod));
            touched.workloads.insert(pod.clone());
        }
    }

    fn set_node(
        &mut self,
        key: &ResourceKey,
        before: Option<&Arc<Object>>,
        after: Option<&Arc<Object>>,
    ) {
        let (before, after) = (before.and_then(node), after.and_then(node));
        if before == after {
            return;
        }
        if let Some(node) = before
            && let Some(pods) = self.pods_by_node.get_mut(node)
        {
            pods.remove(key);
            if pods.is_empty() {
                self.pods_by_node.remove(node);
            }
        }
        if let Some(node) = after {
            let pods = self.pods_by_node.entry(node.clone()).or_default();
            pods.insert(key.clone());
        }
    }

    /// Computes the services of one object again.
    fn refresh(
        &self,
        next: &mut Snapshot,
        object: &Object,
        store: &Store,
        object_changed: bool,
        update: &mut Update,
    ) {
        for service in services_of(object) {
            let key = ServiceKey::of(service);
            if self.registry.source(&key) != Some(&object.meta.key) {
                continue;
            }
            let endpoints = self.endpoints(object, service, store);
            let service = with_accounts(service, &endpoints);
            if next
                .endpoints
                .get(&key)
                .is_none_or(|before| **before != endpoints)
            {
                Arc::make_mut(&mut next.endpoints).insert(key.clone(), Arc::new(endpoints));
                update.changed.insert(key.clone());
            }
            if next
                .services
                .get(&key)
                .is_none_or(|before| **before != service)
            {
                Arc::make_mut(&mut next.services).insert(key, Arc::new(service));
                if !object_changed {
                    update.accounts.insert(object.meta.key.clone());
                }
            }
        }
    }

    fn endpoints(&self, object: &Object, service: &Service, store: &Store) -> ServiceEndpoints {
        join::endpoints(object, service, &self.slices, &self.members, store)
    }
}

/// The node of a pod.
fn node(object: &Arc<Object>) -> Option<&Arc<str>> {
    match &object.model {
        Model::Pod(pod) => Some(&pod.workload.node),
        _ => None,
    }
}

fn services_of(object: &Object) -> &[Service] {
    match &object.model {
        Model::Service(service) => std::slice::from_ref(&**service),
        Model::ServiceEntry(entry) => &entry.services,
        _ => &[],
    }
}

/// The service with the identities that its endpoints show.
fn with_accounts(service: &Service, endpoints: &ServiceEndpoints) -> Service {
    let all = endpoints.by_port.values().flatten();
    let mut service = service.clone();
    service.service_accounts = all
        .filter_map(|endpoint| endpoint.identity.clone())
        .collect();
    service
}
