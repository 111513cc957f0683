//! The configuration as it is executed: matchers built, addresses parsed, names resolved to slots.
//!
//! The control thread builds a new [`Config`] for every accepted change and publishes it through
//! [`ConfigHandle`]; everything that did not change is the same `Arc` as before, so that workers can tell by
//! pointer what to leave alone. A request loads the configuration once and keeps that view to its end.
//! Names are resolved to dense slots ([`ClusterId`], [`RouteTableId`]) when a resource is applied, so that no
//! request hashes a string to find its cluster.

use std::sync::Arc;

use arc_swap::ArcSwap;
use indexmap::IndexMap;

pub mod cluster;
pub mod endpoint;
pub mod filter_chain;
pub mod http;
pub mod listener;
pub mod matcher;
pub mod metadata;
pub mod rbac;
pub mod route;
pub mod secret;

/// The slot of a cluster name. Slots are given out once per name for the life of the process
/// ([`names::Names`]); a slot without a cluster answers 503 with flag NC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClusterId(pub u32);

/// The slot of a route configuration name (RDS).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouteTableId(pub u32);

pub mod names;

/// Everything that workers execute. Immutable; replaced as a whole, shared in its parts.
#[derive(Debug, Default, Clone)]
pub struct Config {
    /// Grows by one with each publication.
    pub version: u64,
    /// Listeners by name, in the order in which they were added.
    pub listeners: IndexMap<Arc<str>, Arc<listener::Listener>>,
    /// Clusters by [`ClusterId`]; `None` for a name that is referred to but not (or no longer) defined.
    pub clusters: Vec<Option<Arc<cluster::Cluster>>>,
    /// Endpoints by [`ClusterId`]: their own slots, because they change far more often than clusters.
    pub endpoints: Vec<Option<Arc<endpoint::LoadAssignment>>>,
    /// Route configurations by [`RouteTableId`].
    pub routes: Vec<Option<Arc<route::RouteConfig>>>,
}

impl Config {
    /// The cluster in a slot.
    #[inline]
    pub fn cluster(&self, id: ClusterId) -> Option<&Arc<cluster::Cluster>> {
        self.clusters.get(id.0 as usize)?.as_ref()
    }

    /// The endpoints in a slot.
    #[inline]
    pub fn endpoints(&self, id: ClusterId) -> Option<&Arc<endpoint::LoadAssignment>> {
        self.endpoints.get(id.0 as usize)?.as_ref()
    }

    /// The route configuration in a slot.
    #[inline]
    pub fn route_config(&self, id: RouteTableId) -> Option<&Arc<route::RouteConfig>> {
        self.routes.get(id.0 as usize)?.as_ref()
    }
}

/// Where the current configuration is published: one writer (the control thread), many readers.
#[derive(Debug, Clone, Default)]
pub struct ConfigHandle {
    current: Arc<ArcSwap<Config>>,
    /// The version last published: wakes workers that must act on a change (listeners) without a request.
    version: tokio::sync::watch::Sender<u64>,
}

impl ConfigHandle {
    /// The configuration in force. For occasional readers; workers keep an [`arc_swap::Cache`].
    pub fn load(&self) -> Arc<Config> {
        self.current.load_full()
    }

    /// Replaces the configuration in force.
    pub fn publish(&self, config: Config) {
        let version = config.version;
        self.current.store(Arc::new(config));
        self.version.send_replace(version);
    }

    /// Changes whenever a configuration is published.
    pub fn changes(&self) -> tokio::sync::watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// A cache for one worker: loading from it costs no atomic write while nothing changes.
    pub fn cache(&self) -> arc_swap::Cache<Arc<ArcSwap<Config>>, Arc<Config>> {
        arc_swap::Cache::new(self.current.clone())
    }
}
