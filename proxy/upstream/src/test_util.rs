//! Clusters, hosts and workers for tests.

use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use xds::envoy::cluster as proto;
use xds::envoy::cluster::cluster::{ClusterDiscoveryType, DiscoveryType};
use xds::envoy::core;
use xds::envoy::endpoint::lb_endpoint::HostIdentifier;
use xds::envoy::endpoint::{self, ClusterLoadAssignment, LbEndpoint, LocalityLbEndpoints};

use super::{ClusterCore, Host, UpstreamCluster};
use crate::config::cluster::Cluster;
use crate::config::endpoint::LoadAssignment;
use crate::config::names::Names;
use crate::config::secret::ResourceSource;
use crate::config::{ClusterId, Config, ConfigHandle};
use crate::listener::socket::Sockets;
use crate::telemetry::WorkerTelemetry;
use crate::telemetry::log_sink::LogSinks;
use crate::tls::secret_store::SecretStore;
use crate::worker::Worker;
use crate::xds::context::ApplyContext;
use crate::xds::eds::{self, Addresses};

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

/// A STATIC cluster named `c` without endpoints, for a test to change.
pub(crate) fn static_cluster() -> proto::Cluster {
    proto::Cluster {
        name: "c".into(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Static as i32)),
        ..Default::default()
    }
}

/// Translates a cluster.
pub(crate) fn translate(proto: &proto::Cluster) -> Result<Cluster, crate::error::ConfigError> {
    let mut context = ApplyContext {
        names: &mut Names::default(),
        secrets: &SecretStore::new(),
        sockets: &Sockets::new(0),
        previous_listener: None,
        logs: &LogSinks::new(),
        node: &Arc::default(),
        source: ResourceSource::default(),
    };
    crate::xds::cds::cluster(proto, &mut context, None)
}

/// An address in protobuf.
pub(crate) fn address(host: &str, port: u16) -> core::Address {
    use core::address::Address;
    use core::socket_address::PortSpecifier;
    core::Address {
        address: Some(Address::SocketAddress(core::SocketAddress {
            address: host.into(),
            port_specifier: Some(PortSpecifier::PortValue(port.into())),
            ..Default::default()
        })),
    }
}

/// An endpoint in protobuf.
pub(crate) fn lb_endpoint(host: &str, port: u16, weight: u32) -> LbEndpoint {
    LbEndpoint {
        load_balancing_weight: Some(weight.into_value()),
        host_identifier: Some(HostIdentifier::Endpoint(endpoint::Endpoint {
            address: Some(address(host, port)),
            ..Default::default()
        })),
        ..Default::default()
    }
}

/// Numbers in their wrapper messages.
pub(crate) trait IntoValue<T> {
    /// Wraps.
    fn into_value(self) -> T;
}

impl IntoValue<xds::pb::google::protobuf::UInt32Value> for u32 {
    fn into_value(self) -> xds::pb::google::protobuf::UInt32Value {
        xds::pb::google::protobuf::UInt32Value { value: self }
    }
}

/// A locality in protobuf.
pub(crate) fn locality(
    priority: u32,
    weight: u32,
    endpoints: Vec<LbEndpoint>,
) -> LocalityLbEndpoints {
    LocalityLbEndpoints {
        priority,
        load_balancing_weight: Some(weight.into_value()),
        lb_endpoints: endpoints,
        ..Default::default()
    }
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

/// Hosts of an assignment, in its order.
pub(crate) fn hosts(cluster: Cluster, assignment: &LoadAssignment) -> Vec<Rc<Host>> {
    let core = Rc::new(ClusterCore {
        config: Arc::new(cluster),
        cells: Arc::default(),
    });
    let endpoints = assignment.endpoints();
    endpoints
        .map(|(_, _, endpoint)| Host::new(core.clone(), endpoint.clone()))
        .collect()
}

/// A worker with one published cluster.
pub(crate) struct Fixture {
    pub(crate) worker: Rc<Worker>,
    handle: ConfigHandle,
}

impl Fixture {
    /// A worker with a cluster of these endpoints.
    pub(crate) fn new(cluster: &proto::Cluster, endpoints: &[SocketAddr]) -> Self {
        let handle = ConfigHandle::default();
        handle.publish(Config {
            version: 1,
            clusters: vec![Some(Arc::new(translate(cluster).unwrap()))],
            endpoints: vec![Some(Arc::new(one_locality(endpoints)))],
            ..Config::default()
        });
        let worker = Worker::new(0, &handle, WorkerTelemetry::default());
        Self { worker, handle }
    }

    /// Publishes other endpoints.
    pub(crate) fn set_endpoints(&self, endpoints: &[SocketAddr]) {
        let mut config = Config::clone(&self.handle.load());
        config.version += 1;
        config.endpoints = vec![Some(Arc::new(one_locality(endpoints)))];
        self.handle.publish(config);
    }

    /// Removes the cluster.
    pub(crate) fn remove_cluster(&self) {
        let version = self.handle.load().version + 1;
        self.handle.publish(Config {
            version,
            clusters: vec![None],
            ..Config::default()
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

fn one_locality(endpoints: &[SocketAddr]) -> LoadAssignment {
    let endpoints = endpoints
        .iter()
        .map(|a| lb_endpoint(&a.ip().to_string(), a.port(), 1));
    assignment(vec![locality(0, 1, endpoints.collect())])
}
