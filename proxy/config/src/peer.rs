//! Who is on the other side: a workload, as Istio's metrics name it.

use crate::metadata::{Struct, Value};

/// A peer workload, for the labels of Istio's metrics. Empty means unknown.
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

impl Peer {
    /// From the metadata of a node (`WORKLOAD_NAME`, `NAMESPACE`, `LABELS`, `CLUSTER_ID`), which is also what
    /// peers tell each other.
    pub fn from_node_metadata(metadata: &Struct) -> Self {
        let text = |key: &str| Box::from(metadata.string(key).unwrap_or_default());
        let labels = match metadata.get("LABELS") {
            Some(Value::Struct(labels)) => Some(labels),
            _ => None,
        };
        let label = |key: &str| {
            labels
                .and_then(|labels| labels.string(key))
                .unwrap_or_default()
        };
        let first = |keys: &[&str]| {
            let found = keys
                .iter()
                .map(|key| label(key))
                .find(|value| !value.is_empty());
            Box::from(found.unwrap_or_default())
        };
        let mut peer = Self {
            workload: text("WORKLOAD_NAME"),
            namespace: text("NAMESPACE"),
            canonical_name: first(&[
                "service.istio.io/canonical-name",
                "app.kubernetes.io/name",
                "app",
            ]),
            canonical_revision: first(&[
                "service.istio.io/canonical-revision",
                "app.kubernetes.io/version",
                "version",
            ]),
            app: label("app").into(),
            version: label("version").into(),
            cluster: text("CLUSTER_ID"),
        };
        if peer.canonical_name.is_empty() {
            peer.canonical_name = peer.workload.clone();
        }
        if peer.canonical_revision.is_empty() {
            peer.canonical_revision = "latest".into();
        }
        peer
    }

    /// From endpoint metadata `istio.workload`: `workload;namespace;canonical name;revision;cluster`.
    pub fn from_endpoint_metadata(text: &str) -> Self {
        let mut parts = text.split(';').map(Box::<str>::from);
        let mut next = || parts.next().unwrap_or_default();
        let (workload, namespace) = (next(), next());
        let (canonical_name, canonical_revision, cluster) = (next(), next(), next());
        Self {
            // Istio takes the canonical ones where it has no labels to read.
            app: canonical_name.clone(),
            version: canonical_revision.clone(),
            workload,
            namespace,
            canonical_name,
            canonical_revision,
            cluster,
        }
    }

    /// The namespace of a SPIFFE identity `spiffe://domain/ns/NAMESPACE/sa/ACCOUNT`.
    pub fn namespace_of_identity(identity: &str) -> Option<&str> {
        let path = identity.strip_prefix("spiffe://")?.split_once('/')?.1;
        let mut parts = path.split('/');
        (parts.next() == Some("ns")).then(|| parts.next())?
    }
}
