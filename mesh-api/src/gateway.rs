//! Gateways: what an ingress or egress proxy listens for (Istio `Gateway`).

use std::net::IpAddr;
use std::sync::Arc;

use crate::hostname::Hostname;
use crate::labels::Selector;
use crate::port::Protocol;
use crate::resource::Meta;
use crate::traffic_policy::tls::TlsVersion;

/// One Gateway object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// The object.
    pub meta: Meta,
    /// The gateway pods.
    pub selector: Selector,
    /// The namespace of those pods; `None` for any.
    pub pod_namespace: Option<Arc<str>>,
    /// Those of the pods that get the credentials which `servers` name without a right of their own to read
    /// Secrets; `None` where each needs that right.
    pub trusted_pods: Option<TrustedPods>,
    /// What they listen for.
    pub servers: Vec<Server>,
}

/// The own pods of a Gateway of the Gateway API, whose references to Secrets were checked already: they are of
/// its own namespace, or a ReferenceGrant permits them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedPods {
    /// The namespace of the Gateway.
    pub namespace: Arc<str>,
    /// The service account of its Deployment; `None` for any, where the pods are those of another Service.
    pub service_account: Option<Arc<str>>,
}

/// One `servers[]` entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// `port.number`: a port of the gateway's Service.
    pub port: u16,
    /// `port.name`.
    pub port_name: Arc<str>,
    /// `port.protocol`.
    pub protocol: Protocol,
    /// `name`.
    pub name: Option<Arc<str>>,
    /// `bind`; `None` for every address.
    pub bind: Option<IpAddr>,
    /// Which hosts, and from which namespaces VirtualServices may bind to them.
    pub hosts: Vec<ServerHost>,
    /// `tls`.
    pub tls: Option<ServerTls>,
}

/// `[namespace/]host`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServerHost {
    /// The namespace whose VirtualServices may bind; `None` for any (`*`). `.` is already resolved.
    pub namespace: Option<Arc<str>>,
    /// The host.
    pub host: Hostname,
}

/// `ServerTLSSettings`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTls {
    /// Answer plain HTTP with 301 to https.
    pub https_redirect: bool,
    /// What happens to TLS; `None` on plain servers that only redirect.
    pub mode: Option<ServerTlsMode>,
    /// Pins of client certificates: names.
    pub subject_alt_names: Vec<Arc<str>>,
    /// Pins of client certificates: base64 SHA-256 of the SPKI.
    pub verify_certificate_spki: Vec<Arc<str>>,
    /// Pins of client certificates: hex SHA-256.
    pub verify_certificate_hash: Vec<Arc<str>>,
    /// Lowest version.
    pub min_version: TlsVersion,
    /// Highest version.
    pub max_version: TlsVersion,
    /// Allowed suites; empty for the default.
    pub cipher_suites: Vec<Arc<str>>,
}

impl ServerTls {
    /// TLS ended with the certificate in a Secret, everything else as by default.
    pub fn simple(credential: Arc<str>) -> Self {
        Self::of(ServerTlsMode::Simple(ServerCertificate::Credential(
            credential,
        )))
    }

    /// TLS in this mode, everything else as by default.
    pub fn of(mode: ServerTlsMode) -> Self {
        Self {
            https_redirect: false,
            mode: Some(mode),
            subject_alt_names: Vec::new(),
            verify_certificate_spki: Vec::new(),
            verify_certificate_hash: Vec::new(),
            min_version: TlsVersion::V1_2,
            max_version: TlsVersion::V1_3,
            cipher_suites: Vec::new(),
        }
    }
}

/// `tls.mode` with what the mode needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerTlsMode {
    /// Forward by SNI.
    Passthrough,
    /// Forward by the SNI of the mesh (`outbound_.port_.subset_.host`).
    AutoPassthrough,
    /// Server certificate only.
    Simple(ServerCertificate),
    /// Client certificate required.
    Mutual(ServerCertificate),
    /// Client certificate asked for.
    OptionalMutual(ServerCertificate),
    /// The mesh's own certificates.
    IstioMutual,
}

/// Where a server certificate is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerCertificate {
    /// A Secret in the gateway pod's namespace (`credentialName`).
    Credential(Arc<str>),
    /// Several such Secrets: what the client asks for and can verify decides.
    Credentials(Vec<Arc<str>>),
    /// Files of the gateway pod.
    Files {
        /// `serverCertificate`.
        certificate: Arc<str>,
        /// `privateKey`.
        private_key: Arc<str>,
        /// `caCertificates`.
        ca_certificates: Option<Arc<str>>,
    },
}
