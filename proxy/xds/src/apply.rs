//! Applying resources: translate one at a time, keep the last good version of what is refused, publish what is
//! complete.
//!
//! No sockets, no tasks; the clock is passed in. [`super::client`] feeds it, static resources of the bootstrap
//! take the same way. A new or changed cluster or listener *warms* until what it depends on is there (endpoints,
//! routes, secrets); the version in force serves until then. Dependencies that never come are waited for as
//! long as Envoy's `initial_fetch_timeout`; what then depends on a missing secret refuses connections.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use xds::envoy::endpoint::ClusterLoadAssignment;
use xds::type_url::ResourceType;

use super::context::{ApplyContext, Node};
use super::eds::{self, Addresses};
use super::status::{Rejection, XdsStatus};
use super::warming::Warming;
use crate::config::cluster::{Cluster, DnsTarget};
use crate::config::endpoint::LoadAssignment;
use crate::config::error::ConfigError;
use crate::config::listener::Listener;
use crate::config::names::Names;
use crate::config::route::RouteConfig;
use crate::config::secret::{ResourceSource, SecretRef};
use crate::config::{ClusterId, Config};
use crate::target::{Built, Target};

mod clusters;
mod endpoints;
mod listeners;
mod received;
mod routes;
mod secrets;

pub use received::Received;

/// Envoy's default `initial_fetch_timeout`.
pub const INITIAL_FETCH_TIMEOUT: Duration = Duration::from_secs(15);

/// How listeners and route configurations are translated.
#[derive(Debug, Clone, Copy)]
pub struct Translators {
    /// `envoy.config.listener.v3.Listener`.
    pub listener:
        fn(&xds::envoy::listener::Listener, &mut ApplyContext<'_>) -> Result<Listener, ConfigError>,
    /// `envoy.config.route.v3.RouteConfiguration`.
    pub route: fn(
        &xds::envoy::route::RouteConfiguration,
        &mut ApplyContext<'_>,
    ) -> Result<RouteConfig, ConfigError>,
}

/// What the applied resources refer to by name, to be subscribed to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Names for EDS.
    pub endpoints: BTreeSet<Arc<str>>,
    /// Names for RDS.
    pub routes: BTreeSet<Arc<str>>,
    /// Names for SDS over ADS.
    pub secrets: BTreeSet<Arc<str>>,
}

/// Everything received, and what is in force of it.
#[derive(Debug)]
pub struct Applier<T: Target> {
    names: Names,
    node: Arc<Node>,
    further_filters: Arc<[Box<str>]>,
    translators: Translators,
    target: T,
    /// What is in force, or will be by the next [`Applier::flush`].
    config: Config,
    dirty: bool,
    clusters: BTreeMap<Arc<str>, ClusterState<T::Cluster>>,
    listeners: BTreeMap<Arc<str>, ListenerState<T::Listener>>,
    /// Load assignments by their resource name, as they came: they are translated for each cluster that uses
    /// them, and every endpoint decoded twice would be most of the memory.
    assignments: HashMap<Arc<str>, ResourceSource>,
    /// The bytes of the route configurations in force.
    route_sources: HashMap<Arc<str>, Bytes>,
    /// Endpoints and routes that the server says do not exist.
    absent: BTreeSet<(ResourceType, Arc<str>)>,
    status: Arc<XdsStatus>,
}

#[derive(Debug)]
struct ClusterState<L> {
    active: Option<Built<Cluster, L>>,
    warming: Option<Warming<Built<Cluster, L>>>,
    /// The endpoints in the cluster itself (STATIC, DNS).
    inline: Option<ClusterLoadAssignment>,
    /// What its names resolved to; `None` before the first answer.
    resolved: Option<HashMap<Box<str>, Vec<IpAddr>>>,
    is_static: bool,
}

#[derive(Debug)]
struct ListenerState<L> {
    active: Option<Built<Listener, L>>,
    warming: Option<Warming<Built<Listener, L>>>,
    is_static: bool,
}

impl<T: Target> Applier<T> {
    /// An applier with nothing received, which sets `target` to work.
    pub fn new(
        target: T,
        node: Arc<Node>,
        translators: Translators,
        status: Arc<XdsStatus>,
    ) -> Self {
        Self {
            names: Names::default(),
            config: Config::default(),
            target,
            node,
            further_filters: Arc::default(),
            translators,
            dirty: false,
            clusters: BTreeMap::new(),
            listeners: BTreeMap::new(),
            assignments: HashMap::new(),
            route_sources: HashMap::new(),
            absent: BTreeSet::new(),
            status,
        }
    }

    /// The same applier, which knows these HTTP filters besides those that are built in.
    #[must_use]
    pub fn knowing(mut self, filters: Arc<[Box<str>]>) -> Self {
        self.further_filters = filters;
        self
    }

    /// Applies a static resource of the bootstrap. It cannot be replaced or removed later.
    ///
    /// # Errors
    /// When the resource cannot be executed: the process should not start then.
    pub fn apply_static(
        &mut self,
        resource_type: ResourceType,
        name: &str,
        bytes: Bytes,
        now: Instant,
    ) -> Result<(), ConfigError> {
        let resource = Received {
            name: name.into(),
            version: "static".into(),
            bytes,
        };
        self.apply_one(resource_type, &resource, true, now)
    }

    /// Applies a response: what changed, then what was removed. Returns the refused resources with reasons.
    pub fn apply(
        &mut self,
        resource_type: ResourceType,
        changed: &[Received],
        removed: &[String],
        now: Instant,
    ) -> Vec<(String, String)> {
        let mut refused = Vec::new();
        for resource in changed {
            self.absent.remove(&(resource_type, resource.name.clone()));
            match self.apply_one(resource_type, resource, false, now) {
                Ok(()) => self.status.accepted(resource_type, &resource.name),
                Err(error) => {
                    tracing::warn!(kind = %resource_type, name = %resource.name, %error, "resource refused");
                    let rejection = Rejection {
                        version: resource.version.clone(),
                        reason: error.to_string(),
                    };
                    self.status
                        .rejected(resource_type, &resource.name, rejection);
                    refused.push((resource.name.to_string(), error.to_string()));
                }
            }
        }
        for name in removed {
            self.remove(resource_type, name, now);
        }
        self.warm(now);
        refused
    }

    /// Secrets changed, or a warming resource's time may be over: activates what is complete.
    pub fn warm(&mut self, now: Instant) {
        self.warm_clusters(now);
        self.warm_listeners(now);
    }

    /// Does what is due by the clock: warming that took too long, outlier detection.
    pub fn tick(&mut self, now: Instant) {
        self.target.tick(now);
        self.warm(now);
    }

    /// When [`Applier::tick`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        let clusters = self
            .clusters
            .values()
            .filter_map(|state| state.warming.as_ref());
        let listeners = self
            .listeners
            .values()
            .filter_map(|state| state.warming.as_ref());
        let deadlines = clusters.map(|warming| warming.deadline);
        let deadlines = deadlines.chain(listeners.map(|warming| warming.deadline));
        deadlines.chain(self.target.deadline()).min()
    }

    /// Names of what is warming.
    pub fn warming(&self) -> Vec<Arc<str>> {
        let clusters = self
            .clusters
            .iter()
            .filter(|(_, state)| state.warming.is_some());
        let listeners = self
            .listeners
            .iter()
            .filter(|(_, state)| state.warming.is_some());
        clusters
            .map(|(name, _)| name)
            .chain(listeners.map(|(name, _)| name))
            .cloned()
            .collect()
    }

    /// True if a cluster is still warming.
    pub fn clusters_warming(&self) -> bool {
        self.clusters.values().any(|state| state.warming.is_some())
    }

    /// Names that are referred to; forgets what nobody refers to any more.
    pub fn wanted(&mut self) -> Wanted {
        let wanted = Wanted {
            endpoints: self.wanted_endpoints(),
            routes: self.wanted_routes(),
            secrets: self
                .target
                .wanted_secrets()
                .into_iter()
                .filter(|secret| !secret.from_agent)
                .map(|secret| secret.name)
                .collect(),
        };
        self.forget_unwanted(&wanted);
        wanted
    }

    /// Clusters whose names have to be looked up.
    pub fn dns_targets(&self) -> Vec<DnsTarget> {
        let targets = self.clusters.iter().filter_map(|(name, state)| {
            let cluster = state.newest()?;
            let options = cluster.config.dns_options()?.clone();
            let hosts = eds::host_names(state.inline.as_ref()?);
            Some(DnsTarget {
                cluster: name.clone(),
                options,
                hosts,
            })
        });
        targets.collect()
    }

    /// What a cluster's names resolved to.
    pub fn resolved(
        &mut self,
        cluster: &str,
        addresses: HashMap<Box<str>, Vec<IpAddr>>,
        now: Instant,
    ) {
        let Some(state) = self.clusters.get_mut(cluster) else {
            return;
        };
        state.resolved = Some(addresses);
        if let Some(active) = state.active.clone() {
            self.refresh_endpoints(&active.config);
        }
        self.warm(now);
    }

    /// Publishes what changed since the last call. Returns whether anything did.
    pub fn flush(&mut self) -> bool {
        self.status.set_warming(self.warming());
        if !std::mem::take(&mut self.dirty) {
            return false;
        }
        self.config.version += 1;
        self.target.publish(self.config.version);
        true
    }

    /// What is in force, or will be by the next [`Applier::flush`].
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The slots of names, for what the assembly itself refers to by name.
    pub fn names(&mut self) -> &mut Names {
        &mut self.names
    }

    fn apply_one(
        &mut self,
        resource_type: ResourceType,
        resource: &Received,
        is_static: bool,
        now: Instant,
    ) -> Result<(), ConfigError> {
        match resource_type {
            ResourceType::Cluster => self.apply_cluster(resource, is_static, now),
            ResourceType::Endpoint => self.apply_endpoints(resource),
            ResourceType::Listener => self.apply_listener(resource, is_static, now),
            ResourceType::Route => self.apply_route(resource),
            ResourceType::Secret => self.apply_secret(resource, is_static),
            ResourceType::VirtualHost | ResourceType::ExtensionConfig => {
                Err(ConfigError::unsupported("", resource_type.short_name()))
            }
        }
    }

    fn remove(&mut self, resource_type: ResourceType, name: &str, now: Instant) {
        self.status.forget(resource_type, name);
        match resource_type {
            ResourceType::Cluster => self.remove_cluster(name, now),
            ResourceType::Endpoint => self.remove_endpoints(name),
            ResourceType::Listener => self.remove_listener(name),
            ResourceType::Route => self.remove_route(name),
            ResourceType::Secret => {
                self.target.remove_secret(&SecretRef {
                    name: name.into(),
                    from_agent: false,
                });
            }
            ResourceType::VirtualHost | ResourceType::ExtensionConfig => {}
        }
    }

    fn context(&mut self, resource: &Received) -> ApplyContext<'_> {
        ApplyContext {
            names: &mut self.names,
            previous_listener: None,
            further_filters: &self.further_filters,
            node: &self.node,
            source: resource.source(),
        }
    }
}

impl<L> Default for ClusterState<L> {
    fn default() -> Self {
        Self {
            active: None,
            warming: None,
            inline: None,
            resolved: None,
            is_static: false,
        }
    }
}

impl<L> Default for ListenerState<L> {
    fn default() -> Self {
        Self {
            active: None,
            warming: None,
            is_static: false,
        }
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
