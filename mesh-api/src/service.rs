//! Services: names that clients use, whoever registered them (Kubernetes Service, ServiceEntry).

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::hostname::Hostname;
use crate::identity::SpiffeId;
use crate::labels::Selector;
use crate::port::{Protocol, TargetPort};
use crate::resource::{Meta, Visibility};

/// One service, one host name. A ServiceEntry of several hosts becomes several services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// The object it was made from; `meta.creation_seconds` decides conflicts.
    pub meta: Meta,
    /// Fully qualified name.
    pub hostname: Hostname,
    /// The Kubernetes short name, or the host name for a ServiceEntry (Istio attribute `name`).
    pub name: Arc<str>,
    /// Who registered it.
    pub registry: Registry,
    /// Virtual addresses; empty for headless services and for ServiceEntries without address.
    pub addresses: Vec<ServiceAddress>,
    /// Ports in the order written.
    pub ports: Vec<ServicePort>,
    /// How endpoints are found and balanced.
    pub resolution: Resolution,
    /// Outside of the mesh: no mTLS by default, metrics as external.
    pub mesh_external: bool,
    /// Who may see it.
    pub visibility: Visibility,
    /// The pods behind it; `None` for services without selector.
    pub selector: Option<Selector>,
    /// Names that a server certificate may carry besides the endpoints' service accounts
    /// (`subjectAltNames` of ServiceEntry), as written.
    pub subject_alt_names: BTreeSet<Arc<str>>,
    /// Identities of the workloads behind it, for clients to check.
    pub service_accounts: BTreeSet<SpiffeId>,
    /// Further names of the service (ExternalName aliases that point here).
    pub aliases: Vec<Hostname>,
    /// Endpoints that are not ready are kept (`publishNotReadyAddresses`).
    pub publish_not_ready: bool,
    /// `internalTrafficPolicy: Local`.
    pub node_local: bool,
    /// `trafficDistribution`.
    pub traffic_distribution: TrafficDistribution,
}

/// Which kind of object a service came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Registry {
    /// A Kubernetes Service.
    Kubernetes,
    /// A ServiceEntry.
    External,
}

/// A virtual address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ServiceAddress {
    /// One address.
    Ip(IpAddr),
    /// A range (ServiceEntry with resolution NONE or STATIC).
    Cidr(IpNet),
}

/// A port of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    /// The port that clients use.
    pub number: u16,
    /// Its name; empty if it has none.
    pub name: Arc<str>,
    /// What is spoken.
    pub protocol: Protocol,
    /// Where it leads on the workload.
    pub target: TargetPort,
}

/// How the endpoints of a service are found (Istio `Resolution`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resolution {
    /// From the registry; balanced by the client's proxy.
    Static,
    /// By DNS; every address is an endpoint.
    Dns,
    /// By DNS; only the first address is used (`DNS_ROUND_ROBIN`).
    DnsRoundRobin,
    /// Wildcard host: by DNS on the name the client asked for (`DYNAMIC_DNS`).
    DynamicDns,
    /// The address that the client connected to (headless, resolution NONE).
    Passthrough,
    /// An alias (`ExternalName`).
    Alias,
}

/// `spec.trafficDistribution` of a Kubernetes Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TrafficDistribution {
    /// No preference.
    #[default]
    Any,
    /// `PreferClose`, `PreferSameZone`.
    PreferSameZone,
    /// `PreferSameNode`.
    PreferSameNode,
}

impl Service {
    /// The port with a number.
    pub fn port(&self, number: u16) -> Option<&ServicePort> {
        self.ports.iter().find(|port| port.number == number)
    }

    /// No virtual address and endpoints from the registry: reached by pod addresses.
    pub fn is_headless(&self) -> bool {
        self.registry == Registry::Kubernetes
            && self.addresses.is_empty()
            && self.resolution == Resolution::Passthrough
    }
}
