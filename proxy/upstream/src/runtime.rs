//! What is in force: live objects by the same dense slots as their configuration, published as a whole.
//!
//! The control thread builds a new [`Runtime`] for every accepted change; what did not change is the same `Arc` as
//! before. A request loads it once and keeps that view to its end.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::config::route::RouteConfig;
use crate::config::{ClusterId, RouteTableId};
use crate::shared::{SharedAssignment, SharedCluster};

/// Everything that requests and connections need. Immutable; replaced as a whole, shared in its parts.
#[derive(Debug, Default, Clone)]
pub struct Runtime {
    /// Grows by one with each publication.
    pub version: u64,
    /// Clusters by [`ClusterId`]; `None` for a name that is referred to but not (or no longer) defined.
    pub clusters: Vec<Option<Arc<SharedCluster>>>,
    /// Endpoints by [`ClusterId`]: their own slots, because they change far more often than clusters.
    pub endpoints: Vec<Option<Arc<SharedAssignment>>>,
    /// Route configurations by [`RouteTableId`].
    pub routes: Vec<Option<Arc<RouteConfig>>>,
}

impl Runtime {
    /// The cluster in a slot.
    #[inline]
    pub fn cluster(&self, id: ClusterId) -> Option<&Arc<SharedCluster>> {
        self.clusters.get(id.0 as usize)?.as_ref()
    }

    /// The endpoints in a slot.
    #[inline]
    pub fn endpoints(&self, id: ClusterId) -> Option<&Arc<SharedAssignment>> {
        self.endpoints.get(id.0 as usize)?.as_ref()
    }

    /// The route configuration in a slot.
    #[inline]
    pub fn route_config(&self, id: RouteTableId) -> Option<&Arc<RouteConfig>> {
        self.routes.get(id.0 as usize)?.as_ref()
    }
}

/// Where the runtime is published: one writer (the control thread), many readers.
#[derive(Debug, Clone, Default)]
pub struct RuntimeHandle {
    current: Arc<ArcSwap<Runtime>>,
    /// The version last announced: wakes workers that must act on a change (listeners) without a request.
    version: tokio::sync::watch::Sender<u64>,
}

impl RuntimeHandle {
    /// What is in force. For occasional readers; workers keep an [`arc_swap::Cache`].
    pub fn load(&self) -> Arc<Runtime> {
        self.current.load_full()
    }

    /// Replaces what is in force; requests that begin from now on see it.
    pub fn store(&self, runtime: Runtime) {
        self.current.store(Arc::new(runtime));
    }

    /// Wakes those who follow [`RuntimeHandle::changes`].
    pub fn announce(&self) {
        self.version.send_replace(self.load().version);
    }

    /// Changes whenever a runtime is announced.
    pub fn changes(&self) -> tokio::sync::watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// A cache for one worker: loading from it costs no atomic write while nothing changes.
    pub fn cache(&self) -> arc_swap::Cache<Arc<ArcSwap<Runtime>>, Arc<Runtime>> {
        arc_swap::Cache::new(self.current.clone())
    }
}
