//! Workloads: pods, and WorkloadEntries that stand for machines.

use std::net::IpAddr;
use std::sync::Arc;

use crate::identity::SpiffeId;
use crate::labels::Labels;
use crate::locality::Locality;

/// A pod or machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// The pod's name.
    pub name: Arc<str>,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its addresses, the first one preferred.
    pub addresses: Vec<IpAddr>,
    /// Its labels.
    pub labels: Labels,
    /// The identity it has in the mesh.
    pub identity: SpiffeId,
    /// The node it runs on; empty if unknown.
    pub node: Arc<str>,
    /// Where it runs.
    pub locality: Locality,
    /// The owner: Deployment `reviews-v1` rather than pod `reviews-v1-5d8...`.
    pub workload_name: Arc<str>,
    /// Label `service.istio.io/canonical-name`, `app.kubernetes.io/name`, `app`, else the workload's name.
    pub canonical_name: Arc<str>,
    /// Label `service.istio.io/canonical-revision`, `app.kubernetes.io/version`, `version`, else `latest`.
    pub canonical_revision: Arc<str>,
    /// Has a proxy that accepts mesh mTLS (label `security.istio.io/tlsMode: istio`).
    pub mtls_capable: bool,
    /// Container ports by name: for Service target ports that are names.
    pub named_ports: Vec<(Arc<str>, u16)>,
    /// In the host's network: never captured.
    pub host_network: bool,
    /// Ready to serve.
    pub ready: bool,
}
