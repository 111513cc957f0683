//! Endpoints: each cluster's in its own slot, so that a change touches nothing else.

use std::collections::BTreeSet;
use std::sync::Arc;

use xds::envoy::endpoint::ClusterLoadAssignment;
use xds::prost::Message;
use xds::type_url::ResourceType;

use super::{Addresses, Applier, ClusterId, LoadAssignment, Received, Wanted, eds, slot};
use crate::config::cluster::{Cluster, Discovery};
use crate::config::error::ConfigError;
use crate::config::secret::ResourceSource;
use crate::target::Target;

impl<T: Target> Applier<T> {
    pub(super) fn apply_endpoints(&mut self, resource: &Received) -> Result<(), ConfigError> {
        let known = self.assignments.get(&resource.name);
        if known.is_some_and(|known| known.bytes == resource.bytes) {
            return Ok(());
        }
        let proto = resource.decode()?;
        // Checked before it replaces the version in force; the slots only matter below.
        eds::load_assignment(
            &proto,
            ClusterId(0),
            Addresses::None,
            None,
            resource.source(),
        )?;
        self.assignments
            .insert(resource.name.clone(), resource.source());
        self.refresh_users(&resource.name);
        Ok(())
    }

    pub(super) fn remove_endpoints(&mut self, name: &str) {
        let name: Arc<str> = name.into();
        self.assignments.remove(&name);
        self.absent.insert((ResourceType::Endpoint, name.clone()));
        self.refresh_users(&name);
    }

    pub(super) fn wanted_endpoints(&self) -> BTreeSet<Arc<str>> {
        let clusters = self.clusters.values().flat_map(|state| {
            let warming = state.warming.as_ref().map(|warming| &warming.next);
            state.active.iter().chain(warming)
        });
        clusters
            .filter_map(|cluster| cluster.config.eds_name().cloned())
            .collect()
    }

    pub(super) fn forget_unwanted(&mut self, wanted: &Wanted) {
        self.assignments
            .retain(|name, _| wanted.endpoints.contains(name));
        self.absent
            .retain(|(resource_type, name)| match resource_type {
                ResourceType::Endpoint => wanted.endpoints.contains(name),
                ResourceType::Route => wanted.routes.contains(name),
                _ => false,
            });
        self.forget_routes(&wanted.routes);
    }

    /// Translates a cluster's endpoints into its slot.
    pub(super) fn refresh_endpoints(&mut self, cluster: &Cluster) {
        let Some(state) = self.clusters.get(&cluster.name) else {
            return;
        };
        let none = Default::default();
        let resolved = state.resolved.as_ref().unwrap_or(&none);
        let addresses = match &cluster.discovery {
            Discovery::StrictDns(_) => Addresses::All(resolved),
            Discovery::LogicalDns(_) => Addresses::First(resolved),
            Discovery::Static | Discovery::Eds { .. } | Discovery::OriginalDst(_) => {
                Addresses::None
            }
        };
        let place = slot(&mut self.config.endpoints, cluster.id.0);
        let translate = |proto: &ClusterLoadAssignment, source| {
            let previous = place.as_deref();
            eds::load_assignment(proto, cluster.id, addresses, previous, source).ok()
        };
        // What is translated here was checked when it was received.
        let translated = match &cluster.discovery {
            Discovery::OriginalDst(_) => None,
            Discovery::Eds { service_name } => {
                self.assignments.get(service_name).and_then(|source| {
                    let proto = ClusterLoadAssignment::decode(source.bytes.clone()).ok()?;
                    translate(&proto, source.clone())
                })
            }
            _ => state.inline.as_ref().and_then(|proto| {
                let version = cluster.source.version.clone();
                translate(
                    proto,
                    ResourceSource {
                        version,
                        ..Default::default()
                    },
                )
            }),
        };
        let translated = translated.unwrap_or_else(|| LoadAssignment::empty(cluster.id));
        let translated = Arc::new(translated);
        self.target.set_endpoints(cluster.id, &translated);
        *place = Some(translated);
        self.dirty = true;
    }

    fn refresh_users(&mut self, name: &str) {
        let active = self
            .clusters
            .values()
            .filter_map(|state| state.active.as_ref().map(|active| &active.config));
        let users: Vec<Arc<Cluster>> = active
            .filter(|cluster| cluster.eds_name().is_some_and(|eds| **eds == *name))
            .cloned()
            .collect();
        for cluster in users {
            self.refresh_endpoints(&cluster);
        }
    }
}
