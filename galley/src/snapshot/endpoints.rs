//! Services, endpoints and workloads of the snapshot, kept up to date by change.
//!
//! Slices, pods, nodes and WorkloadEntries are joined here. An index leads from a
//! changed object to the services it touches; only those are computed again.

mod index;
mod join;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use mesh_api::endpoint::ServiceEndpoints;
use mesh_api::resource::ResourceKey;
use mesh_api::service::Service;
use mesh_api::snapshot::{ServiceKey, Snapshot};
use mesh_api::workload::Workload;

use self::index::SliceIndex;
use crate::normalize::Model;
use crate::object::Object;
use crate::store::Store;

/// Indexes kept from one snapshot to the next.
#[derive(Debug, Default)]
pub(super) struct Endpoints {
    slices: SliceIndex,
    /// Which object each service is taken from.
    registered: BTreeMap<ServiceKey, ResourceKey>,
    /// Addresses under which a pod or machine is listed.
    addresses: BTreeMap<ResourceKey, Vec<IpAddr>>,
}

/// What an update touched.
#[derive(Debug, Default)]
pub(super) struct Update {
    /// Services whose endpoints changed.
    pub(super) changed: BTreeSet<ServiceKey>,
    /// Objects whose service changed although they did not: other accounts.
    pub(super) accounts: BTreeSet<ResourceKey>,
    /// The workloads changed.
    pub(super) workloads: bool,
}

impl Endpoints {
    /// Brings `next` up to date.
    pub(super) fn update(
        &mut self,
        next: &mut Snapshot,
        changed: &BTreeSet<ResourceKey>,
        store: &Store,
        full: bool,
    ) -> Update {
        let mut update = Update::default();
        let sources = self.affected(changed, store, full);
        self.workloads(next, changed, store, full, &mut update);
        let is_service = |key: &ResourceKey| matches!(&*key.kind, "Service" | "ServiceEntry");
        if full || changed.iter().any(is_service) {
            self.register(next, store, &mut update);
        }
        for source in sources {
            if let Some(object) = store.get(&source) {
                self.refresh(next, object, store, changed.contains(&source), &mut update);
            }
        }
        update
    }

    /// The Services and ServiceEntries that a change touches.
    fn affected(
        &mut self,
        changed: &BTreeSet<ResourceKey>,
        store: &Store,
        full: bool,
    ) -> BTreeSet<ResourceKey> {
        let mut sources = BTreeSet::new();
        for key in changed {
            match &*key.kind {
                "Service" | "ServiceEntry" => {
                    sources.insert(key.clone());
                }
                "EndpointSlice" => sources.extend(self.slices.update(key, store.get(key))),
                "Pod" => {
                    sources.extend(self.slices.of_pod(key));
                    sources.extend(join::selecting(&key.namespace, store));
                }
                "WorkloadEntry" => sources.extend(join::selecting(&key.namespace, store)),
                _ => {}
            }
        }
        // A node's labels are the locality of all of its pods.
        if full || changed.iter().any(|key| &*key.kind == "Node") {
            let all = store
                .of_kind("Service")
                .chain(store.of_kind("ServiceEntry"));
            sources.extend(all.map(|object| object.meta.key.clone()));
        }
        sources
    }

    /// Decides which object each service is taken from, and drops services that are
    /// no longer registered.
    fn register(&mut self, next: &mut Snapshot, store: &Store, update: &mut Update) {
        let objects = store
            .of_kind("Service")
            .chain(store.of_kind("ServiceEntry"));
        let all = objects.flat_map(|object| services_of(object));
        let registered: BTreeMap<ServiceKey, ResourceKey> = super::services(all)
            .into_iter()
            .map(|(key, service)| (key, super::source(service)))
            .collect();
        for key in self
            .registered
            .keys()
            .filter(|key| !registered.contains_key(*key))
        {
            Arc::make_mut(&mut next.services).remove(key);
            Arc::make_mut(&mut next.endpoints).remove(key);
            update.changed.insert(key.clone());
        }
        // A service that is now taken from another object is computed from it, even
        // though that object did not change.
        for (key, source) in &registered {
            let before = self.registered.get(key);
            if before.is_some_and(|before| before != source) {
                Arc::make_mut(&mut next.services).remove(key);
                update.accounts.insert(source.clone());
            }
        }
        self.registered = registered;
        let moved: Vec<ResourceKey> = update.accounts.iter().cloned().collect();
        for object in moved.iter().filter_map(|key| store.get(key)) {
            self.refresh(next, object, store, true, update);
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
            if self.registered.get(&key) != Some(&object.meta.key) {
                continue;
            }
            let endpoints = join::endpoints(object, service, &self.slices, store);
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

    fn workloads(
        &mut self,
        next: &mut Snapshot,
        changed: &BTreeSet<ResourceKey>,
        store: &Store,
        full: bool,
        update: &mut Update,
    ) {
        let everything = full || changed.iter().any(|key| &*key.kind == "Node");
        let keys: Vec<ResourceKey> = match everything {
            true => {
                let objects = store.of_kind("Pod").chain(store.of_kind("WorkloadEntry"));
                let known = objects.map(|object| object.meta.key.clone());
                known.chain(changed.iter().cloned()).collect()
            }
            false => changed.iter().cloned().collect(),
        };
        for key in keys
            .iter()
            .filter(|key| matches!(&*key.kind, "Pod" | "WorkloadEntry"))
        {
            let workload = store
                .get(key)
                .and_then(|object| join::workload(object, store));
            self.set_workload(next, key, workload, update);
        }
    }

    fn set_workload(
        &mut self,
        next: &mut Snapshot,
        key: &ResourceKey,
        workload: Option<Workload>,
        update: &mut Update,
    ) {
        let before = self.addresses.remove(key).unwrap_or_default();
        let after = workload
            .as_ref()
            .map(|w| w.addresses.clone())
            .unwrap_or_default();
        for address in before.iter().filter(|address| !after.contains(address)) {
            // Another pod may have taken the address over already.
            let ours = next.workloads.get(address).is_some_and(|listed| {
                *listed.name == *key.name && *listed.namespace == *key.namespace
            });
            if ours {
                Arc::make_mut(&mut next.workloads).remove(address);
                update.workloads = true;
            }
        }
        let Some(workload) = workload else {
            return;
        };
        if after.iter().any(|a| {
            next.workloads
                .get(a)
                .is_none_or(|before| **before != workload)
        }) {
            let workload = Arc::new(workload);
            let map = Arc::make_mut(&mut next.workloads);
            map.extend(after.iter().map(|address| (*address, workload.clone())));
            update.workloads = true;
        }
        self.addresses.insert(key.clone(), after);
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
