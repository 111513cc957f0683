//! Clusters: warm until their endpoints, names and secrets are there.

use std::sync::Arc;
use std::time::Instant;

use xds::envoy::cluster as proto;
use xds::type_url::ResourceType;

use super::{Applier, ClusterState, INITIAL_FETCH_TIMEOUT, Received, Warming, eds, slot};
use crate::config::cluster::{Cluster, Discovery, DnsOptions, TransportSocket};
use crate::error::{ConfigError, Within};
use crate::xds::cds;

impl Applier {
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
            if state.newest().is_some_and(|newest| same(newest)) {
                return Ok(());
            }
        }
        let proto: proto::Cluster = resource.decode()?;
        let previous = state.and_then(|state| state.newest().cloned());
        let cluster = cds::cluster(&proto, &mut self.context(resource), previous.as_deref())?;
        check_inline(&cluster, &proto)?;
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

    pub(super) fn remove_cluster(&mut self, name: &str) {
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
        self.outlier_sweeps.remove(name);
        *slot(&mut self.config.clusters, id.0) = None;
        *slot(&mut self.config.endpoints, id.0) = None;
        self.dirty = true;
    }

    pub(super) fn warm_clusters(&mut self, now: Instant) {
        let ready: Vec<Arc<Cluster>> = self
            .clusters
            .values()
            .filter_map(|state| {
                let warming = state.warming.as_ref()?;
                let complete = self.is_complete(state, &warming.next);
                warming.is_over(complete, now).then(|| warming.next.clone())
            })
            .collect();
        for cluster in ready {
            if let Some(state) = self.clusters.get_mut(&cluster.name) {
                state.warming = None;
                state.active = Some(cluster.clone());
            }
            *slot(&mut self.config.clusters, cluster.id.0) = Some(cluster.clone());
            self.dirty = true;
            self.plan_sweep(&cluster, now);
            self.refresh_endpoints(&cluster);
        }
    }

    /// Lets ejected hosts return and judges success rates, where it is time.
    pub(super) fn sweep_outliers(&mut self, now: Instant) {
        let due: Vec<Arc<str>> = self
            .outlier_sweeps
            .iter()
            .filter(|(_, due)| **due <= now)
            .map(|(name, _)| name.clone())
            .collect();
        for name in due {
            let Some(cluster) = self
                .clusters
                .get(&name)
                .and_then(|state| state.active.clone())
            else {
                self.outlier_sweeps.remove(&name);
                continue;
            };
            if let Some(detection) = &cluster.outlier_detection {
                detection.sweep(now);
            }
            self.plan_sweep(&cluster, now);
        }
    }

    fn plan_sweep(&mut self, cluster: &Cluster, now: Instant) {
        match &cluster.outlier_detection {
            Some(detection) => {
                let due = now + detection.settings.interval;
                self.outlier_sweeps.insert(cluster.name.clone(), due);
            }
            None => _ = self.outlier_sweeps.remove(&cluster.name),
        }
    }

    fn is_complete(&self, state: &ClusterState, cluster: &Cluster) -> bool {
        let has_endpoints = match &cluster.discovery {
            Discovery::Static | Discovery::OriginalDst(_) => true,
            Discovery::StrictDns(_) | Discovery::LogicalDns(_) => state.resolved.is_some(),
            Discovery::Eds { service_name } => {
                let absent = (ResourceType::Endpoint, service_name.clone());
                self.assignments.contains_key(service_name) || self.absent.contains(&absent)
            }
        };
        let transport = &cluster.transport;
        let sockets = transport.matches.iter().map(|entry| &entry.socket);
        let mut sockets = sockets.chain([&transport.default]);
        has_endpoints
            && sockets.all(|socket| match socket {
                TransportSocket::Raw => true,
                TransportSocket::Tls(tls) => tls.ready(),
            })
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

impl ClusterState {
    /// The version that was received last.
    pub(super) fn newest(&self) -> Option<&Arc<Cluster>> {
        self.warming
            .as_ref()
            .map(|warming| &warming.next)
            .or(self.active.as_ref())
    }
}

impl Cluster {
    /// How its names are looked up, if it has names.
    pub(super) fn dns_options(&self) -> Option<&DnsOptions> {
        match &self.discovery {
            Discovery::StrictDns(options) | Discovery::LogicalDns(options) => Some(options),
            _ => None,
        }
    }
}
