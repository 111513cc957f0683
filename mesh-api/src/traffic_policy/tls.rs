//! TLS towards a service.

use std::sync::Arc;

/// `ClientTLSSettings`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientTls {
    /// What is done.
    pub mode: ClientTlsMode,
    /// Names of which the server must show one; empty: the service's own.
    pub subject_alt_names: Vec<Arc<str>>,
    /// SNI; `None`: by mode.
    pub sni: Option<Arc<str>>,
    /// Accept any server certificate.
    pub insecure_skip_verify: bool,
}

/// `mode` with what it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientTlsMode {
    /// Plaintext.
    Disable,
    /// Server certificate only.
    Simple {
        /// `caCertificates`; `None`: the system's roots.
        ca_certificates: Option<Arc<str>>,
        /// `credentialName`.
        credential: Option<Arc<str>>,
    },
    /// Own certificate too.
    Mutual(ClientCertificate),
    /// The mesh's own certificates.
    IstioMutual,
}

/// Where a client certificate is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientCertificate {
    /// A Secret.
    Credential(Arc<str>),
    /// Files of the proxy.
    Files {
        /// `clientCertificate`.
        certificate: Arc<str>,
        /// `privateKey`.
        private_key: Arc<str>,
        /// `caCertificates`.
        ca_certificates: Option<Arc<str>>,
    },
}

/// A TLS version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TlsVersion {
    /// 1.2.
    V1_2,
    /// 1.3.
    V1_3,
}
