//! The whole configuration at one moment, immutable, indexed the way discovery looks things up.

use std::net::IpAddr;
use std::sync::Arc;

use crate::authn::{PeerAuthentication, RequestAuthentication};
use crate::authz::AuthorizationPolicy;
use crate::endpoint::ServiceEndpoints;
use crate::gateway::Gateway;
use crate::hostname::Hostname;
use crate::labels::Labels;
use crate::mesh_config::MeshConfig;
use crate::resource::ResourceKey;
use crate::route::VirtualService;
use crate::secret_readers::SecretReaders;
use crate::service::Service;
use crate::sidecar::Sidecar;
use crate::telemetry::Telemetry;
use crate::traffic_policy::DestinationRule;
use crate::workload::Workload;

pub mod diff;

mod map;
mod namespaces;

pub use self::map::Map;
pub use self::namespaces::{ByNamespace, Objects};

/// The name of a credential: namespace, name.
pub type CredentialKey = (Arc<str>, Arc<str>);

/// The name of a service within the mesh: the same host may be registered in several namespaces.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceKey {
    /// The host.
    pub hostname: Hostname,
    /// The namespace it is registered in.
    pub namespace: Arc<str>,
}

/// One state of the mesh. Parts that did not change from one snapshot to the next are the same `Arc`s, and maps share
/// what did not change in them.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Grows by one with each snapshot.
    pub version: u64,
    /// Mesh-wide settings.
    pub mesh: Arc<MeshConfig>,
    /// Services.
    pub services: Arc<Map<ServiceKey, Arc<Service>>>,
    /// Endpoints, each service behind its own `Arc`.
    pub endpoints: Arc<Map<ServiceKey, Arc<ServiceEndpoints>>>,
    /// Workloads by address.
    pub workloads: Arc<Map<IpAddr, Arc<Workload>>>,
    /// VirtualServices by their own namespace.
    pub virtual_services: Arc<ByNamespace<VirtualService>>,
    /// DestinationRules by their own namespace.
    pub destination_rules: Arc<ByNamespace<DestinationRule>>,
    /// Gateways by their own namespace.
    pub gateways: Arc<ByNamespace<Gateway>>,
    /// Sidecars by their own namespace.
    pub sidecars: Arc<ByNamespace<Sidecar>>,
    /// PeerAuthentications by their own namespace.
    pub peer_authentications: Arc<ByNamespace<PeerAuthentication>>,
    /// RequestAuthentications by their own namespace.
    pub request_authentications: Arc<ByNamespace<RequestAuthentication>>,
    /// AuthorizationPolicies by their own namespace.
    pub authorization_policies: Arc<ByNamespace<AuthorizationPolicy>>,
    /// Telemetry objects by their own namespace.
    pub telemetries: Arc<ByNamespace<Telemetry>>,
    /// Labels of namespaces.
    pub namespaces: Arc<Map<Arc<str>, Labels>>,
    /// Certificates for gateways: namespace, name.
    pub credentials: Arc<Map<CredentialKey, Arc<Credential>>>,
    /// Who may list Secrets; empty in a cluster, where the API server is asked.
    pub secret_readers: Arc<SecretReaders>,
    /// What changed since the snapshot before.
    pub changes: Arc<diff::Changes>,
}

/// A certificate for a gateway (Secret), PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// The Secret.
    pub key: ResourceKey,
    /// `tls.crt` or `cert`.
    pub certificate_chain: Option<bytes::Bytes>,
    /// `tls.key` or `key`.
    pub private_key: Option<bytes::Bytes>,
    /// `ca.crt` or `cacert`, here or in `<name>-cacert`.
    pub ca_certificates: Option<bytes::Bytes>,
    /// `ca.crl` or `crl`.
    pub crl: Option<bytes::Bytes>,
}

impl std::fmt::Debug for Credential {
    /// Keys are not printed.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

impl Snapshot {
    /// The services registered for a host, in order of namespaces.
    pub fn services_of_host<'a>(
        &'a self,
        hostname: &'a Hostname,
    ) -> impl Iterator<Item = &'a Arc<Service>> {
        let first = ServiceKey {
            hostname: hostname.clone(),
            namespace: "".into(),
        };
        self.services
            .range(first..)
            .take_while(move |(key, _)| key.hostname == *hostname)
            .map(|(_, service)| service)
    }

    /// The endpoints of a service.
    pub fn service_endpoints(&self, service: &Service) -> Option<&Arc<ServiceEndpoints>> {
        self.endpoints.get(&ServiceKey::of(service))
    }

    /// The objects of a namespace, oldest first.
    pub fn of_namespace<'a, T>(map: &'a ByNamespace<T>, namespace: &str) -> &'a Objects<T> {
        map.of(namespace)
    }
}

impl ServiceKey {
    /// The key of a service.
    pub fn of(service: &Service) -> Self {
        Self {
            hostname: service.hostname.clone(),
            namespace: service.meta.key.namespace.clone(),
        }
    }
}
