//! Clusters, hosts and workers for tests.

use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use proxy_xds::eds::{self, Addresses};
pub(crate) use proxy_xds::test_util::{
    IntoValue, lb_endpoint, locality, static_cluster, translate,
};
use xds::envoy::cluster as proto;
use xds::envoy::endpoint::{ClusterLoadAssignment, LocalityLbEndpoints};

use super::{ClusterCore, Host, UpstreamCluster};
use crate::config::ClusterId;
use crate::config::cluster::Cluster;
use crate::config::endpoint::LoadAssignment;
use crate::config::secret::ResourceSource;
use crate::runtime::{Runtime, RuntimeHandle};
use crate::shared::{SharedAssignment, SharedCluster};
use crate::telemetry::WorkerTelemetry;
use crate::tls::secret_store::SecretStore;
use crate::worker::Worker;

/// The slot of the cluster under test.
pub(crate) const ID: ClusterId = ClusterId(0);

/// Runs a test as a worker's task.
pub(crate) fn on_worker<F: Future>(test: impl FnOnce() -> F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())
        .unwrap();
    runtime.block_on(test())
}

/// Translates an assignment with these localities.
pub(crate) fn assignment(localities: Vec<LocalityLbEndpoints>) -> LoadAssignment {
    let proto = ClusterLoadAssignment {
        cluster_name: "c".into(),
        endpoints: localities,
        ..Default::default()
    };
    eds::load_assignment(&proto, ID, Addresses::None, None, ResourceSource::default()).unwrap()
}

/// A cluster with its live parts.
pub(crate) fn shared(cluster: Cluster) -> Arc<SharedCluster> {
    let secrets = SecretStore::new();
    Arc::new(SharedCluster::new(Arc::new(cluster), &secrets, None).unwrap())
}

/// Hosts of an assignment, in its order.
pub(crate) fn hosts(cluster: Cluster, assignment: &SharedAssignment) -> Vec<Rc<Host>> {
    let cluster = shared(cluster);
    let core = Rc::new(ClusterCore {
        named: Rc::new(cluster.config.clone()),
        config: cluster,
        cells: Arc::default(),
    });
    let endpoints = assignment.endpoints.iter();
    endpoints
        .map(|endpoint| Host::new(core.clone(), endpoint.clone()))
        .collect()
}

/// A worker with one published cluster.
pub(crate) struct Fixture {
    pub(crate) worker: Rc<Worker>,
    handle: RuntimeHandle,
}

impl Fixture {
    /// A worker with a cluster of these endpoints.
    pub(crate) fn new(cluster: &proto::Cluster, endpoints: &[SocketAddr]) -> Self {
        let handle = RuntimeHandle::default();
        handle.store(Runtime {
            version: 1,
            clusters: vec![Some(shared(translate(cluster).unwrap()))],
            endpoints: vec![Some(Arc::new(one_locality(endpoints, None)))],
            ..Runtime::default()
        });
        let worker = Worker::new(0, &handle, WorkerTelemetry::default());
        Self { worker, handle }
    }

    /// Publishes other endpoints.
    pub(crate) fn set_endpoints(&self, endpoints: &[SocketAddr]) {
        let mut runtime = Runtime::clone(&self.handle.load());
        runtime.version += 1;
        let previous = runtime.endpoints[0].take();
        let next = one_locality(endpoints, previous.as_deref());
        runtime.endpoints = vec![Some(Arc::new(next))];
        self.handle.store(runtime);
    }

    /// Removes the cluster.
    pub(crate) fn remove_cluster(&self) {
        let version = self.handle.load().version + 1;
        self.handle.store(Runtime {
            version,
            clusters: vec![None],
            ..Runtime::default()
        });
    }

    /// The cluster as the worker has it now.
    pub(crate) fn cluster(&self) -> Rc<UpstreamCluster> {
        self.worker
            .upstreams
            .get(&self.worker, &self.worker.view(), ID)
            .unwrap()
    }

    /// Does what a worker does now and then.
    pub(crate) fn sweep(&self, now: std::time::Instant) {
        self.worker
            .upstreams
            .sweep(&self.worker, &self.worker.view(), now);
    }
}

fn one_locality(endpoints: &[SocketAddr], previous: Option<&SharedAssignment>) -> SharedAssignment {
    let endpoints = endpoints
        .iter()
        .map(|a| lb_endpoint(&a.ip().to_string(), a.port(), 1));
    let assignment = assignment(vec![locality(0, 1, endpoints.collect())]);
    SharedAssignment::new(Arc::new(assignment), previous)
}
