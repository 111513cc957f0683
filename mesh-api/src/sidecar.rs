//! Sidecar objects: what proxies of a namespace need to know (Istio `Sidecar`).

use std::sync::Arc;

use crate::hostname::Hostname;
use crate::labels::Selector;
use crate::port::Protocol;
use crate::resource::Meta;
use crate::traffic_policy::connection_pool::ConnectionPool;

/// One Sidecar object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sidecar {
    /// The object.
    pub meta: Meta,
    /// The pods; `None` for the namespace (or the mesh, in the root namespace).
    pub workload_selector: Option<Selector>,
    /// Inbound listeners; empty: from the services of the workload.
    pub ingress: Vec<IngressListener>,
    /// Outbound listeners; `None` inherits.
    pub egress: Option<Vec<EgressListener>>,
    /// Unknown destinations; `None` for the mesh's policy.
    pub outbound_policy: Option<crate::mesh_config::OutboundPolicy>,
    /// Pool of inbound connections; `None`: from the DestinationRule.
    pub inbound_connection_pool: Option<ConnectionPool>,
}

/// `ingress[]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IngressListener {
    /// The port.
    pub port: u16,
    /// Its name.
    pub name: Arc<str>,
    /// What is spoken.
    pub protocol: Protocol,
    /// Where to send requests: `127.0.0.1:8080`, the pod's own address, or a unix socket.
    pub default_endpoint: Option<Arc<str>>,
    /// Pool for this port.
    pub connection_pool: Option<ConnectionPool>,
}

/// `egress[]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EgressListener {
    /// The port; `None` for all ports without a listener of their own.
    pub port: Option<(u16, Protocol)>,
    /// What may be seen.
    pub hosts: Vec<EgressHost>,
}

/// `namespace/dnsName`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EgressHost {
    /// The namespace; `None` for any (`*`). `.` is already resolved; `~` entries are left out.
    pub namespace: Option<Arc<str>>,
    /// The name.
    pub host: Hostname,
}
