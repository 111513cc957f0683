//! Executes the configuration: builds the live objects of resources and publishes them to workers.
//!
//! The applier of the xDS layer says what is in force. Here that becomes clusters with circuit breakers and TLS
//! contexts, listeners with sockets and filters, all by the same slots as their configuration.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use crate::config::cluster::Cluster;
use crate::config::endpoint::LoadAssignment;
use crate::config::error::ConfigError;
use crate::config::listener::Listener;
use crate::config::route::RouteConfig;
use crate::config::secret::SecretRef;
use crate::config::{ClusterId, RouteTableId, tls};
use crate::listener::shared::{Builder, Listeners, ListenersHandle, SharedListener};
use crate::tls::secret::Secret;
use crate::upstream::runtime::{Runtime, RuntimeHandle};
use crate::upstream::shared::{SharedAssignment, SharedCluster};
use proxy_xds::target::{SecretOrigin, Target};

/// What is in force, for workers and admin pages.
#[derive(Debug, Clone, Default)]
pub struct InForce {
    /// Clusters, endpoints and routes; announces every change.
    pub runtime: RuntimeHandle,
    /// Listeners.
    pub listeners: ListenersHandle,
}

/// Builds live objects and publishes them.
#[derive(Debug)]
pub struct Executor {
    in_force: InForce,
    builder: Builder,
    /// What is published, or will be by the next [`Target::publish`].
    runtime: Runtime,
    listeners: Listeners,
    /// When outlier detection of a cluster is due.
    outlier_sweeps: BTreeMap<ClusterId, Instant>,
}

impl Executor {
    /// An executor that publishes to `in_force`.
    pub fn new(in_force: InForce, builder: Builder) -> Self {
        Self {
            in_force,
            builder,
            runtime: Runtime::default(),
            listeners: Listeners::default(),
            outlier_sweeps: BTreeMap::new(),
        }
    }

    fn plan_sweep(&mut self, id: ClusterId, now: Instant) {
        let cluster = self.runtime.cluster(id);
        match cluster.and_then(|cluster| cluster.outlier_detection.as_ref()) {
            Some(detection) => {
                let due = now + detection.settings.interval;
                self.outlier_sweeps.insert(id, due);
            }
            None => _ = self.outlier_sweeps.remove(&id),
        }
    }
}

impl Target for Executor {
    type Cluster = SharedCluster;
    type Listener = SharedListener;

    fn build_cluster(
        &mut self,
        config: &Arc<Cluster>,
        previous: Option<&SharedCluster>,
    ) -> Result<SharedCluster, ConfigError> {
        SharedCluster::new(config.clone(), &self.builder.secrets, previous)
    }

    fn build_listener(
        &mut self,
        config: &Arc<Listener>,
        previous: Option<&SharedListener>,
    ) -> Result<SharedListener, ConfigError> {
        SharedListener::new(config.clone(), &self.builder, previous)
    }

    fn is_cluster_ready(&self, cluster: &SharedCluster) -> bool {
        cluster.ready()
    }

    fn is_listener_ready(&self, listener: &SharedListener) -> bool {
        listener.ready()
    }

    fn set_cluster(&mut self, id: ClusterId, cluster: Option<&Arc<SharedCluster>>, now: Instant) {
        let place = slot(&mut self.runtime.clusters, id.0);
        let replaced = std::mem::replace(place, cluster.cloned());
        // It takes over nothing before it is in force, or the version in force would lose what it still needs.
        let goes_on = cluster.is_some_and(|next| next.take_over_health(replaced.as_deref()));
        if !goes_on {
            // Endpoints that are built from nothing have no history.
            *slot(&mut self.runtime.endpoints, id.0) = None;
        }
        let planned = self.outlier_sweeps.get(&id).copied();
        self.plan_sweep(id, now);
        if let (Some(planned), Some(next)) = (planned, self.outlier_sweeps.get_mut(&id)) {
            // Or a cluster that is updated again and again would never be swept.
            *next = planned.min(*next);
        }
    }

    fn set_endpoints(&mut self, id: ClusterId, endpoints: &Arc<LoadAssignment>) {
        let place = slot(&mut self.runtime.endpoints, id.0);
        let shared = SharedAssignment::new(endpoints.clone(), place.as_deref());
        let shared = Arc::new(shared);
        *place = Some(shared.clone());
        let cluster = self.runtime.cluster(id);
        if let Some(detection) = cluster.and_then(|cluster| cluster.outlier_detection.as_ref()) {
            let monitors = shared.endpoints.iter().map(|host| host.monitor.clone());
            detection.set_hosts(monitors);
        }
    }

    fn set_routes(&mut self, id: RouteTableId, routes: Option<&Arc<RouteConfig>>) {
        *slot(&mut self.runtime.routes, id.0) = routes.cloned();
    }

    fn set_listener(&mut self, name: &Arc<str>, listener: Option<&Arc<SharedListener>>) {
        match listener {
            Some(listener) => _ = self.listeners.insert(name.clone(), listener.clone()),
            // The order of the others is the order in which they were added.
            None => _ = self.listeners.shift_remove(name),
        }
    }

    fn set_secret(
        &mut self,
        name: &Arc<str>,
        secret: &tls::Secret,
        origin: SecretOrigin,
    ) -> Result<(), ConfigError> {
        let secret = Secret::new(secret)?;
        match origin {
            SecretOrigin::Static => self.builder.secrets.set_static(name, secret),
            SecretOrigin::Ads(version) => {
                let name = SecretRef {
                    name: name.clone(),
                    from_agent: false,
                };
                self.builder.secrets.set(name, secret, version);
            }
        }
        Ok(())
    }

    fn remove_secret(&mut self, name: &SecretRef) {
        self.builder.secrets.remove(name);
    }

    fn wanted_secrets(&self) -> Vec<SecretRef> {
        self.builder.secrets.wanted()
    }

    fn publish(&mut self, version: u64) {
        self.runtime.version = version;
        // Workers follow when the version is announced, and must not see listeners before their clusters.
        self.in_force.runtime.store(self.runtime.clone());
        let listeners = Arc::new(self.listeners.clone());
        self.in_force.listeners.store(listeners);
        self.in_force.runtime.announce();
    }

    /// Lets ejected hosts return and judges success rates, where it is time.
    fn tick(&mut self, now: Instant) {
        let due = self.outlier_sweeps.iter().filter(|(_, due)| **due <= now);
        let due: Vec<ClusterId> = due.map(|(id, _)| *id).collect();
        for id in due {
            let cluster = self.runtime.cluster(id);
            if let Some(detection) = cluster.and_then(|cluster| cluster.outlier_detection.as_ref())
            {
                detection.sweep(now);
            }
            self.plan_sweep(id, now);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.outlier_sweeps.values().copied().min()
    }
}

/// The place of a slot in a table that grows on demand.
fn slot<T: Default + Clone>(table: &mut Vec<T>, index: u32) -> &mut T {
    let index = index as usize;
    if table.len() <= index {
        table.resize(index + 1, T::default());
    }
    &mut table[index]
}

#[cfg(test)]
mod tests;
