//! Clusters: warm until their endpoints, names and secrets are there.

use std::sync::Arc;
use std::time::Instant;

use xds::envoy::cluster as proto;
use xds::type_url::ResourceType;

use super::{Applier, ClusterState, INITIAL_FETCH_TIMEOUT, Received, Warming, eds, slot};
use crate::cds;
use crate::config::cluster::{Cluster, Discovery};
use crate::config::error::{ConfigError, Within};
use crate::target::{Built, Target};

impl<T: Target> Applier<T> {
    pub(super) fn apply_cluster(
        &mut self,
        resource: &Received,
        is_static: bool,
        now: Instant,
    ) -> Result<(), ConfigError> {
        let state = self.clusters.get(&resource.name);
        if let Some(state) = state {
            if state.is_static && !is_static {
                // As Envoy: a static cluster stays, and the control plane is not told.
                return Ok(());
            }
            let same = |cluster: &Cluster| cluster.source.bytes == resource.bytes;
            if state.newest().is_some_and(|newest| same(&newest.config)) {
                return Ok(());
            }
        }
        let proto: proto::Cluster = resource.decode()?;
        let previous = state.and_then(|state| state.newest().cloned());
        let config = Arc::new(cds::cluster(&proto, &mut self.context(resource))?);
        check_inline(&config, &proto)?;
        let previous = previous.as_ref().map(|previous| &*previous.live);
        let live = Arc::new(self.target.build_cluster(&config, previous)?);
        let cluster = Built { config, live };
        let state = self.clusters.entry(resource.name.clone()).or_default();
        state.is_static = is_static;
        // Other names have to be looked up first; the same ones will not be reported again.
        let names = |inline: &Option<_>| inline.as_ref().map(eds::host_names);
        if names(&state.inline) != names(&proto.load_assignment) {
            state.resolved = None;
        }
        state.inline = proto.load_assignment;
        state.warming = Some(Warming::new(cluster, now + INITIAL_FETCH_TIMEOUT));
        Ok(())
    }

    pub(super) fn remove_cluster(&mut self, name: &str, now: Instant) {
        if self.clusters.get(name).is_none_or(|state| state.is_static) {
            return;
        }
        let Some(id) = self
            .clusters
            .remove(name)
            .and_then(|_| self.names.known_cluster(name))
        else {
            return;
        };
        *slot(&mut self.config.clusters, id.0) = None;
        *slot(&mut self.config.endpoints, id.0) = None;
        self.target.set_cluster(id, None, now);
        self.dirty = true;
    }

    pub(super) fn warm_clusters(&mut self, now: Instant) {
        let ready: Vec<Built<Cluster, T::Cluster>> = self
            .clusters
            .values()
            .filter_map(|state| {
                let warming = state.warming.as_ref()?;
                let complete = self.is_complete(state, &warming.next);
                warming.is_over(complete, now).then(|| warming.next.clone())
            })
            .collect();
        for cluster in ready {
            if let Some(state) = self.clusters.get_mut(&cluster.config.name) {
                state.warming = None;
                state.active = Some(cluster.clone());
            }
            let id = cluster.config.id;
            self.target.set_cluster(id, Some(&cluster.live), now);
            *slot(&mut self.config.clusters, id.0) = Some(cluster.config.clone());
            self.dirty = true;
            self.refresh_endpoints(&cluster.config);
        }
    }

    fn is_complete(
        &self,
        state: &ClusterState<T::Cluster>,
        cluster: &Built<Cluster, T::Cluster>,
    ) -> bool {
        let has_endpoints = match &cluster.config.discovery {
            Discovery::Static | Discovery::OriginalDst(_) => true,
            Discovery::StrictDns(_) | Discovery::LogicalDns(_) => state.resolved.is_some(),
            Discovery::Eds { service_name } => {
                let absent = (ResourceType::Endpoint, service_name.clone());
                self.assignments.contains_key(service_name) || self.absent.contains(&absent)
            }
        };
        has_endpoints && self.target.is_cluster_ready(&cluster.live)
    }
}

/// A fault in the endpoints of the cluster itself is a fault of the cluster.
fn check_inline(cluster: &Cluster, proto: &proto::Cluster) -> Result<(), ConfigError> {
    let Some(inline) = &proto.load_assignment else {
        return Ok(());
    };
    let addresses = match cluster.discovery {
        Discovery::Static | Discovery::Eds { .. } | Discovery::OriginalDst(_) => {
            eds::Addresses::None
        }
        Discovery::StrictDns(_) | Discovery::LogicalDns(_) => eds::Addresses::All(&NO_ADDRESSES),
    };
    let source = cluster.source.clone();
    let checked = eds::load_assignment(inline, cluster.id, addresses, None, source);
    checked.map(|_| ()).within("load_assignment")
}

static NO_ADDRESSES: std::sync::LazyLock<
    std::collections::HashMap<Box<str>, Vec<std::net::IpAddr>>,
> = std::sync::LazyLock::new(Default::default);

impl<L> ClusterState<L> {
    /// The version that was received last.
    pub(super) fn newest(&self) -> Option<&Built<Cluster, L>> {
        self.warming
            .as_ref()
            .map(|warming| &warming.next)
            .or(self.active.as_ref())
    }
}
