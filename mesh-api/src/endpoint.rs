//! Endpoints: the addresses behind one port of a service.
//!
//! They change far more often than anything else; each service has its own `Arc`, so that a change touches
//! one service and nothing else.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::identity::SpiffeId;
use crate::labels::Labels;
use crate::locality::Locality;

/// All endpoints of a service, by the service's port number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceEndpoints {
    /// Endpoints in a stable order, by service port.
    pub by_port: BTreeMap<u16, Vec<Arc<Endpoint>>>,
}

impl ServiceEndpoints {
    /// The endpoints of a port.
    pub fn port(&self, number: u16) -> &[Arc<Endpoint>] {
        self.by_port.get(&number).map_or(&[], Vec::as_slice)
    }
}

/// One endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Where to connect to.
    pub address: EndpointAddress,
    /// The port on the workload.
    pub port: u16,
    /// The workload's labels: subsets select by them.
    pub labels: Labels,
    /// Where it runs.
    pub locality: Locality,
    /// Relative share inside its locality, at least 1.
    pub weight: u32,
    /// Ready, draining or not ready.
    pub health: EndpointHealth,
    /// Accepts mesh mTLS.
    pub mtls_capable: bool,
    /// The identity it will show.
    pub identity: Option<SpiffeId>,
    /// Pod name; empty if there is no pod.
    pub workload: Arc<str>,
    /// The pod's namespace.
    pub namespace: Arc<str>,
    /// Owner of the pod, e.g. the Deployment's name.
    pub workload_name: Arc<str>,
    /// Canonical service name.
    pub canonical_name: Arc<str>,
    /// Canonical service revision.
    pub canonical_revision: Arc<str>,
    /// The node; empty if unknown.
    pub node: Arc<str>,
    /// The network (`topology.istio.io/network`); empty for the only one.
    pub network: Arc<str>,
}

/// What to connect to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EndpointAddress {
    /// An address.
    Ip(IpAddr),
    /// A name, for services resolved by DNS.
    Name(crate::hostname::Hostname),
    /// A unix domain socket.
    Unix(Arc<str>),
}

/// Whether an endpoint takes requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EndpointHealth {
    /// Takes requests.
    Healthy,
    /// Terminating but still serving: finishes what it has.
    Draining,
    /// Not ready.
    Unhealthy,
}
