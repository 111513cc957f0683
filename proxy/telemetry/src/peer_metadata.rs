//! Who the peer is: workload metadata from headers, endpoint metadata and certificates.
//!
//! Differs from Istio: on TCP there is no exchange by ALPN `istio-peer-exchange`. The client knows its peer by
//! endpoint metadata, the server its peer's namespace by the certificate.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

use http::HeaderValue;
use prost::Message;
use prost_types as wire;

use crate::config::metadata::{Struct, Value};
use crate::config::peer::Peer;

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
        let peer = from_header(header.as_bytes()).map(Arc::new);
        met.insert(header.clone(), peer.clone());
        peer
    }
}

/// The longest header value that is decoded: Istio's own are about 1 KiB.
pub const HEADER_BYTES_MAX: usize = 16 * 1024;

/// From the value of `x-envoy-peer-metadata`: base64 of an encoded `Struct`. `None` if it is not that.
pub fn from_header(value: &[u8]) -> Option<Peer> {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    if value.len() > HEADER_BYTES_MAX {
        return None;
    }
    from_struct_bytes(&STANDARD.decode(value).ok()?)
}

/// From an encoded `google.protobuf.Struct`. `None` if it is not that.
pub fn from_struct_bytes(bytes: &[u8]) -> Option<Peer> {
    let fields = wire::Struct::decode(bytes).ok()?;
    Some(Peer::from_node_metadata(&fields_of(fields)))
}

/// The value of `x-envoy-peer-metadata` that introduces this workload. Fields are encoded in the order of
/// their names, so that equal workloads send equal bytes and receivers can remember them.
pub fn to_header(peer: &Peer) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(to_struct_bytes(peer))
}

/// An encoded `google.protobuf.Struct` with the fields of a node's metadata.
pub fn to_struct_bytes(peer: &Peer) -> Vec<u8> {
    let labels = [
        ("app", &peer.app),
        ("service.istio.io/canonical-name", &peer.canonical_name),
        (
            "service.istio.io/canonical-revision",
            &peer.canonical_revision,
        ),
        ("version", &peer.version),
    ];
    let mut fields = Vec::new();
    let string = |text: &str| wire::value::Kind::StringValue(text.to_owned());
    encode_field(&mut fields, "CLUSTER_ID", string(&peer.cluster));
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
    encode_field(&mut fields, "NAMESPACE", string(&peer.namespace));
    encode_field(&mut fields, "WORKLOAD_NAME", string(&peer.workload));
    fields
}

/// The id that goes with the metadata (`x-envoy-peer-metadata-id`): a key to remember it by.
pub fn to_id(peer: &Peer) -> String {
    let mut id = String::new();
    // Writing to a string cannot fail.
    let _ = write!(id, "weft~{}~{}", peer.workload, peer.namespace);
    id
}

fn fields_of(proto: wire::Struct) -> Struct {
    let fields = proto.fields.into_iter();
    fields
        .map(|(key, value)| (key.into(), value_of(value)))
        .collect()
}

fn value_of(proto: wire::Value) -> Value {
    use wire::value::Kind;
    match proto.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(value)) => Value::Bool(value),
        Some(Kind::NumberValue(number)) => Value::Number(number.into()),
        Some(Kind::StringValue(text)) => Value::String(text.into()),
        Some(Kind::ListValue(list)) => Value::List(list.values.into_iter().map(value_of).collect()),
        Some(Kind::StructValue(fields)) => Value::Struct(fields_of(fields)),
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
    use prost::encoding::{WireType, encode_key, encode_varint};
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
            from_header(to_header(&reviews()).as_bytes()),
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
        let peer = from_struct_bytes(&bytes).unwrap();
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
            let _ = from_struct_bytes(&bytes);
            let _ = from_header(&bytes);
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
            prop_assert_eq!(from_header(to_header(&peer).as_bytes()), Some(peer));
        }
    }
}
