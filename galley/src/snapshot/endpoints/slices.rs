//! From services, pods and nodes to the slices that list them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mesh_api::resource::ResourceKey;

use crate::kinds::Model;
use crate::kinds::endpoint_slice::Slice;
use crate::object::Object;

/// All slices, by service, by pod and by node.
#[derive(Debug, Default)]
pub(super) struct SliceIndex {
    slices: BTreeMap<ResourceKey, Arc<Slice>>,
    by_service: BTreeMap<ResourceKey, BTreeSet<ResourceKey>>,
    by_pod: BTreeMap<ResourceKey, BTreeSet<ResourceKey>>,
    by_node: BTreeMap<ResourceKey, BTreeSet<ResourceKey>>,
}

impl SliceIndex {
    /// Replaces a slice; the services that it listed before or lists now.
    pub(super) fn update(
        &mut self,
        key: &ResourceKey,
        object: Option<&Arc<Object>>,
    ) -> BTreeSet<ResourceKey> {
        let mut touched = BTreeSet::new();
        if let Some(before) = self.slices.remove(key) {
            touched.extend(service_key(&before));
            for (map, names) in [
                (&mut self.by_service, services(&before)),
                (&mut self.by_pod, pods(&before)),
                (&mut self.by_node, nodes(&before)),
            ] {
                for name in names {
                    if let Some(keys) = map.get_mut(&name) {
                        keys.remove(key);
                        if keys.is_empty() {
                            map.remove(&name);
                        }
                    }
                }
            }
        }
        if let Some(Model::Slice(slice)) = object.map(|object| &object.model) {
            touched.extend(service_key(slice));
            for (map, names) in [
                (&mut self.by_service, services(slice)),
                (&mut self.by_pod, pods(slice)),
                (&mut self.by_node, nodes(slice)),
            ] {
                for name in names {
                    map.entry(name).or_default().insert(key.clone());
                }
            }
            self.slices.insert(key.clone(), slice.clone());
        }
        touched
    }

    /// The slices of a service, in order of their names.
    pub(super) fn of_service(&self, service: &ResourceKey) -> impl Iterator<Item = &Arc<Slice>> {
        let keys = self.by_service.get(service).into_iter().flatten();
        keys.filter_map(|key| self.slices.get(key))
    }

    /// The services that list a pod.
    pub(super) fn of_pod(&self, pod: &ResourceKey) -> impl Iterator<Item = ResourceKey> {
        self.services_in(self.by_pod.get(pod))
    }

    /// The services that list addresses on a node.
    pub(super) fn of_node(&self, node: &str) -> impl Iterator<Item = ResourceKey> {
        self.services_in(self.by_node.get(&node_key(node)))
    }

    fn services_in(
        &self,
        slices: Option<&BTreeSet<ResourceKey>>,
    ) -> impl Iterator<Item = ResourceKey> {
        let slices = slices.into_iter().flatten();
        slices
            .filter_map(|key| self.slices.get(key))
            .filter_map(|slice| service_key(slice))
    }
}

fn service_key(slice: &Slice) -> Option<ResourceKey> {
    let name = slice.service.as_ref()?;
    Some(ResourceKey::new("Service", &slice.namespace, name))
}

fn services(slice: &Slice) -> Vec<ResourceKey> {
    service_key(slice).into_iter().collect()
}

fn pods(slice: &Slice) -> Vec<ResourceKey> {
    let names = slice
        .endpoints
        .iter()
        .filter_map(|endpoint| endpoint.pod.as_ref());
    names
        .map(|name| ResourceKey::new("Pod", &slice.namespace, name))
        .collect()
}

fn nodes(slice: &Slice) -> Vec<ResourceKey> {
    let endpoints = slice.endpoints.iter();
    endpoints.map(|endpoint| node_key(&endpoint.node)).collect()
}

fn node_key(node: &str) -> ResourceKey {
    ResourceKey::new("Node", "", node)
}
