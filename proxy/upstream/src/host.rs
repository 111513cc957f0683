//! One endpoint on one worker: its connection pools, and what is told of it.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use smallvec::SmallVec;

use crate::ClusterCore;
use crate::config::cluster::Cluster;
use crate::config::endpoint::Endpoint;
use crate::connection_pool::{Pool, PoolKey};
use crate::outlier_detection::Outcome;
use crate::shared::SharedEndpoint;
use crate::telemetry::stats::ClusterCells;
use crate::telemetry::stream_info::UpstreamHost;

/// An endpoint on one worker.
#[derive(Debug)]
pub struct Host {
    pub(crate) endpoint: SharedEndpoint,
    /// The same for records of streams.
    pub(crate) named: Rc<UpstreamHost>,
    pub(crate) core: Rc<ClusterCore>,
    pub(crate) state: Rc<HostState>,
}

/// What survives an update of the endpoint.
#[derive(Debug, Default)]
pub(crate) struct HostState {
    pub(crate) pools: RefCell<SmallVec<[Rc<Pool>; 1]>>,
    pub(crate) active: Cell<u32>,
}

impl Host {
    /// A host for an endpoint; connections of `old` are kept if they would be made the same way now.
    pub(crate) fn build(
        core: &Rc<ClusterCore>,
        endpoint: &SharedEndpoint,
        old: Option<&Rc<Self>>,
    ) -> Rc<Self> {
        let old = old.filter(|old| {
            let same_transport = std::ptr::eq(
                core.config.socket_for(&old.endpoint.metadata),
                core.config.socket_for(&endpoint.metadata),
            );
            Rc::ptr_eq(&old.core, core) && same_transport
        });
        let Some(old) = old else {
            return Self::new(core.clone(), endpoint.clone());
        };
        if Arc::ptr_eq(&old.endpoint.config, &endpoint.config) {
            return old.clone();
        }
        let host = Rc::new(Self {
            named: named(core, endpoint),
            endpoint: endpoint.clone(),
            core: core.clone(),
            state: old.state.clone(),
        });
        host.state
            .pools
            .borrow()
            .iter()
            .for_each(|pool| pool.follow(&host));
        host
    }

    pub(crate) fn new(core: Rc<ClusterCore>, endpoint: SharedEndpoint) -> Rc<Self> {
        Rc::new(Self {
            named: named(&core, &endpoint),
            endpoint,
            core,
            state: Rc::default(),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.endpoint.address
    }

    /// The endpoint as configured.
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint.config
    }

    /// The endpoint and its cluster, for records of streams.
    pub fn named(&self) -> &Rc<UpstreamHost> {
        &self.named
    }

    /// The cluster it belongs to.
    pub fn cluster(&self) -> &Arc<Cluster> {
        &self.core.named
    }

    /// True while a request or a connection is on it, or a record of one names it.
    pub(crate) fn is_in_use(self: &Rc<Self>) -> bool {
        Rc::strong_count(self) > 1 || Rc::strong_count(&self.named) > 1
    }

    /// Requests of this worker that run on it.
    pub fn active_requests(&self) -> u32 {
        self.state.active.get()
    }

    /// Tells outlier detection what happened to a request or connection.
    #[inline]
    pub fn record(&self, outcome: Outcome) {
        if let Some(detection) = &self.core.config.outlier_detection {
            detection.record(&self.endpoint.monitor, outcome, Instant::now());
        }
    }

    pub(crate) fn cells(&self) -> &Arc<ClusterCells> {
        &self.core.cells
    }

    pub(crate) fn pool(self: &Rc<Self>, key: PoolKey) -> Rc<Pool> {
        let mut pools = self.state.pools.borrow_mut();
        if let Some(pool) = pools.iter().find(|pool| pool.key == key) {
            return pool.clone();
        }
        let pool = Pool::new(key, self.core.clone(), self);
        pools.push(pool.clone());
        pool
    }

    pub(crate) fn sweep(&self, now: Instant) {
        self.state.pools.borrow_mut().retain(|pool| {
            pool.sweep(now);
            !pool.is_disposable()
        });
    }

    /// No new requests on its connections.
    pub(crate) fn retire(&self) {
        self.state
            .pools
            .borrow_mut()
            .drain(..)
            .for_each(|pool| pool.retire());
    }
}

fn named(core: &ClusterCore, endpoint: &SharedEndpoint) -> Rc<UpstreamHost> {
    Rc::new(UpstreamHost {
        endpoint: endpoint.config.clone(),
        cluster: core.config.config.clone(),
    })
}
