//! Who the peer is: workload metadata from headers, endpoint metadata and certificates.
//!
//! Differs from Istio: on TCP there is no exchange by ALPN `istio-peer-exchange`. The client knows its peer by
//! endpoint metadata, the server its peer's namespace by the certificate.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

use http::HeaderValue;
use xds::pb::google::protobuf as wire;
use xds::prost::Message;

use crate::config::metadata::{Struct, Value};

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

/// Peers that a worker has met, by the header they sent: decoding costs more than the rest of the request.
#[derive(Debug, Default)]
pub struct Peers {
    met: RefCell<HashMap<HeaderValue, Option<Arc<Peer>>>>,
}

/// Peers remembered by one worker. Beyond it all are forgotten and met again.
const PEERS_MAX: usize = 4096;

impl Peers {
    /// The peer that sent this header; `None` if it makes no sense.
    pub fn decode(&self, header: &HeaderValue) -> Option<Arc<Peer>> {
        let mut met = self.met.borrow_mut();
        if let Some(known) = met.get(header) {
            return known.clone();
        }
        if header.len() > HEADER_BYTES_MAX {
            return None;
        }
        if met.len() >= PEERS_MAX {
            met.clear();
        }
        let peer = Peer::from_header(header.as_bytes()).map(Arc::new);
        met.insert(header.clone(), peer.clone());
        peer
    }
}

/// The longest header value that is decoded: Istio's own are about 1 KiB.
pub const HEADER_BYTES_MAX: usize = 16 * 1024;

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

    /// From the value of `x-envoy-peer-metadata`: base64 of an encoded `Struct`. `None` if it is not that.
    pub fn from_header(value: &[u8]) -> Option<Self> {
        use base64::Engine as _;
        use base64::engine::general_purpose::STANDARD;
        if value.len() > HEADER_BYTES_MAX {
            return None;
        }
        Self::from_struct_bytes(&STANDARD.decode(value).ok()?)
    }

    /// From an encoded `google.protobuf.Struct`. `None` if it is not that.
    pub fn from_struct_bytes(bytes: &[u8]) -> Option<Self> {
        let fields = wire::Struct::decode(bytes).ok()?;
        Some(Self::from_node_metadata(&Struct::from(&fields)))
    }

    /// The value of `x-envoy-peer-metadata` that introduces this workload. Fields are encoded in the order of
    /// their names, so that equal workloads send equal bytes and receivers can remember them.
    pub fn to_header(&self) -> String {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(self.to_struct_bytes())
    }

    /// An encoded `google.protobuf.Struct` with the fields of a node's metadata.
    pub fn to_struct_bytes(&self) -> Vec<u8> {
        let labels = [
            ("app", &self.app),
            ("service.istio.io/canonical-name", &self.canonical_name),
            (
                "service.istio.io/canonical-revision",
                &self.canonical_revision,
            ),
            ("version", &self.version),
        ];
        let mut fields = Vec::new();
        let string = |text: &str| wire::value::Kind::StringValue(text.to_owned());
        encode_field(&mut fields, "CLUSTER_ID", string(&self.cluster));
        let mut label_fields = Vec::new();
        for (name, value) in labels.into_iter().filter(|(_, value)| !value.is_empty()) {
            encode_field(&mut label_fields, name, string(value));
        }
        let labels = wire::Struct::decode(label_fields.as_slice()).unwrap_or_default();
        encode_struct_field(
            &mut fields,
            "LABELS",
            &label_fields,
            labels.fields.is_empty(),
        );
        encode_field(&mut fields, "NAMESPACE", string(&self.namespace));
        encode_field(&mut fields, "WORKLOAD_NAME", string(&self.workload));
        fields
    }

    /// The id that goes with the metadata (`x-envoy-peer-metadata-id`): a key to remember it by.
    pub fn to_id(&self) -> String {
        let mut id = String::new();
        // Writing to a string cannot fail.
        let _ = write!(id, "weft~{}~{}", self.workload, self.namespace);
        id
    }

    /// The namespace of a SPIFFE identity `spiffe://domain/ns/NAMESPACE/sa/ACCOUNT`.
    pub fn namespace_of_identity(identity: &str) -> Option<&str> {
        let path = identity.strip_prefix("spiffe://")?.split_once('/')?.1;
        let mut parts = path.split('/');
        (parts.next() == Some("ns")).then(|| parts.next())?
    }
}

/// Appends one entry of a `Struct`'s map: map fields encoded by prost have no stable order.
fn encode_field(out: &mut Vec<u8>, key: &str, kind: wire::value::Kind) {
    let value = wire::Value { kind: Some(kind) }.encode_to_vec();
    append_entry(out, key, &value);
}

fn encode_struct_field(out: &mut Vec<u8>, key: &str, fields: &[u8], empty: bool) {
    if empty {
        return;
    }
    /// `Value.struct_value`.
    const STRUCT_VALUE: u32 = 5;
    let mut value = Vec::new();
    append_bytes(&mut value, STRUCT_VALUE, fields);
    append_entry(out, key, &value);
}

fn append_entry(out: &mut Vec<u8>, key: &str, value: &[u8]) {
    let mut entry = Vec::new();
    append_bytes(&mut entry, 1, key.as_bytes());
    append_bytes(&mut entry, 2, value);
    append_bytes(out, 1, &entry);
}

fn append_bytes(out: &mut Vec<u8>, tag: u32, bytes: &[u8]) {
    use xds::prost::encoding::{WireType, encode_key, encode_varint};
    encode_key(tag, WireType::LengthDelimited, out);
    encode_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reviews() -> Peer {
        Peer {
            workload: "reviews-v1".into(),
            namespace: "default".into(),
            canonical_name: "reviews".into(),
            canonical_revision: "v1".into(),
            app: "reviews".into(),
            version: "v1".into(),
            cluster: "Kubernetes".into(),
        }
    }

    #[test]
    fn a_header_gives_back_the_peer() {
        assert_eq!(
            Peer::from_header(reviews().to_header().as_bytes()),
            Some(reviews())
        );
    }

    #[test]
    fn canonical_names_fall_back_as_istio_does() {
        let bytes = wire::Struct {
            fields: [(
                "WORKLOAD_NAME".to_owned(),
                wire::Value {
                    kind: Some(wire::value::Kind::StringValue("w".into())),
                },
            )]
            .into(),
        }
        .encode_to_vec();
        let peer = Peer::from_struct_bytes(&bytes).unwrap();
        assert_eq!(
            (&*peer.canonical_name, &*peer.canonical_revision),
            ("w", "latest")
        );
    }

    #[test]
    fn endpoint_metadata_may_be_short() {
        let peer = Peer::from_endpoint_metadata("reviews-v1;default;reviews;v1;Kubernetes");
        assert_eq!(peer, reviews());
        assert_eq!(&*Peer::from_endpoint_metadata("w").workload, "w");
    }

    #[test]
    fn identities_name_their_namespace() {
        let of = Peer::namespace_of_identity;
        assert_eq!(of("spiffe://cluster.local/ns/foo/sa/bar"), Some("foo"));
        assert_eq!(of("spiffe://cluster.local/x"), None);
        assert_eq!(of("https://x/ns/foo"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_peer_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Peer::from_struct_bytes(&bytes);
            let _ = Peer::from_header(&bytes);
        }

        #[test]
        fn any_peer_travels(workload in ".{0,20}", namespace in ".{0,20}", app in ".{1,20}") {
            let peer = Peer {
                workload: workload.into(),
                namespace: namespace.into(),
                canonical_name: app.clone().into(),
                canonical_revision: "latest".into(),
                app: app.into(),
                ..Peer::default()
            };
            prop_assert_eq!(Peer::from_header(peer.to_header().as_bytes()), Some(peer));
        }
    }
}
