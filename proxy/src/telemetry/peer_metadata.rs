//! Who the peer is: workload metadata from headers, ALPN exchange, endpoint metadata and certificates.

/// `istio.metadata_exchange` as executed.
#[derive(Debug)]
pub struct TcpExchange {}

/// A peer workload, for the labels of Istio's metrics.
#[derive(Debug, Default, Clone, PartialEq, Eq, Hash)]
pub struct Peer {
    /// Workload name, e.g. `reviews-v1`.
    pub workload: Box<str>,
    /// Its namespace.
    pub namespace: Box<str>,
    /// Canonical service name.
    pub canonical_name: Box<str>,
    /// Canonical revision.
    pub canonical_revision: Box<str>,
    /// Label `app`.
    pub app: Box<str>,
    /// Label `version`.
    pub version: Box<str>,
    /// Cluster (mesh member) id.
    pub cluster: Box<str>,
}
