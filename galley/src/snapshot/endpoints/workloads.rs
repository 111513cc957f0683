//! Pods and machines by address. Several may have one: pods on the host's network, or a
//! pod that has ended and the one that got its address. The youngest is listed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use mesh_api::resource::ResourceKey;
use mesh_api::snapshot::Snapshot;
use mesh_api::workload::Workload;

use super::join;
use crate::store::Store;

/// All workloads.
#[derive(Debug, Default)]
pub(super) struct Workloads {
    known: BTreeMap<ResourceKey, (i64, Arc<Workload>)>,
    /// By age and name, the youngest last.
    by_address: BTreeMap<IpAddr, BTreeSet<(i64, ResourceKey)>>,
}

impl Workloads {
    /// Takes the state of a pod or machine in; the addresses that it has or had.
    pub(super) fn set(&mut self, key: &ResourceKey, store: &Store) -> BTreeSet<IpAddr> {
        let mut touched = BTreeSet::new();
        if let Some((age, before)) = self.known.remove(key) {
            for address in &before.addresses {
                touched.insert(*address);
                if let Some(workloads) = self.by_address.get_mut(address) {
                    workloads.remove(&(age, key.clone()));
                    if workloads.is_empty() {
                        self.by_address.remove(address);
                    }
                }
            }
        }
        let object = store.get(key);
        let workload = object.and_then(|object| {
            let age = object.meta.creation_seconds;
            Some((age, join::workload(object, store)?))
        });
        if let Some((age, workload)) = workload {
            for address in &workload.addresses {
                touched.insert(*address);
                let workloads = self.by_address.entry(*address).or_default();
                workloads.insert((age, key.clone()));
            }
            self.known.insert(key.clone(), (age, Arc::new(workload)));
        }
        touched
    }

    /// Lists what is to be listed under an address. True if it is something else than before.
    pub(super) fn publish(&self, address: IpAddr, next: &mut Snapshot) -> bool {
        let youngest = self.by_address.get(&address);
        let youngest = youngest.and_then(BTreeSet::last);
        let listed = youngest.and_then(|(_, key)| self.known.get(key));
        let listed = listed.map(|(_, workload)| workload);
        if next.workloads.get(&address) == listed {
            return false;
        }
        let workloads = Arc::make_mut(&mut next.workloads);
        match listed {
            Some(workload) => workloads.insert(address, workload.clone()),
            None => {
                workloads.remove(&address);
            }
        }
        true
    }
}
