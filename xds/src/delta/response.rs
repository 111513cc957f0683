//! A response on its way out: shared resources and little of its own, encoded piece by piece.
//!
//! Most of a response's bytes are resources that many streams send. So a response holds those, not
//! a message, and what is encoded at a time is about as long as a socket takes at once. No stream
//! ever keeps a copy of all that it was sent.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::sync::{Arc, Weak};

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

use crate::resource::{Any, DeltaDiscoveryResponse, Resource};
use crate::type_url::ResourceType;
use crate::version::Version;

/// The tag of `DeltaDiscoveryResponse.resources`.
const RESOURCES_TAG: u32 = 2;

/// Resources from this length are passed on as they are; shorter ones are gathered.
const COPIED_BYTES_MAX: usize = 16 * 1024;

/// A resource as generated once and shared by all streams. It is found and ordered by its name.
#[derive(Clone)]
pub struct SharedResource(Arc<Encoded>);

struct Encoded {
    name: Arc<str>,
    version: Version,
    /// A `Resource` message: version, body and name.
    message: Bytes,
    /// The body's message, a part of the above.
    value: Bytes,
}

impl SharedResource {
    /// A resource of a type under its version.
    pub fn new(name: Arc<str>, version: Version, type_url: &str, value: &[u8]) -> Self {
        let resource = Resource {
            version: version.to_string(),
            resource: Some(Any {
                type_url: type_url.to_owned(),
                value: Bytes::copy_from_slice(value),
            }),
            name: name.to_string(),
            aliases: Vec::new(),
        };
        let message = Bytes::from(resource.encode_to_vec());
        // Behind the value comes the name alone, which has a tag of one byte.
        let name_len = match name.len() {
            0 => 0,
            len => 1 + encoded_len_varint(len as u64) + len,
        };
        let end = message.len() - name_len;
        let value = message.slice(end - value.len()..end);
        Self(Arc::new(Encoded {
            name,
            version,
            message,
            value,
        }))
    }

    /// What is known of a resource that another server sent.
    pub(super) fn known(name: Arc<str>, version: Version) -> Self {
        Self(Arc::new(Encoded {
            name,
            version,
            message: Bytes::new(),
            value: Bytes::new(),
        }))
    }

    /// The name.
    pub fn name(&self) -> &Arc<str> {
        &self.0.name
    }

    /// The version.
    pub fn version(&self) -> Version {
        self.0.version
    }

    /// The encoded message that the resource is.
    pub fn value(&self) -> &Bytes {
        &self.0.value
    }

    /// Holds on to it only as long as others do.
    pub fn downgrade(&self) -> WeakResource {
        WeakResource(Arc::downgrade(&self.0))
    }

    fn message(&self) -> Resource {
        Resource::decode(self.0.message.clone()).expect("it was encoded here")
    }
}

impl PartialEq for SharedResource {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for SharedResource {}

impl PartialOrd for SharedResource {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for SharedResource {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.name.cmp(&other.0.name)
    }
}

impl Borrow<str> for SharedResource {
    fn borrow(&self) -> &str {
        &self.0.name
    }
}

/// A resource that may be gone.
#[derive(Clone)]
pub struct WeakResource(Weak<Encoded>);

impl WeakResource {
    /// The resource, if anybody has it still.
    pub fn upgrade(&self) -> Option<SharedResource> {
        self.0.upgrade().map(SharedResource)
    }
}

impl std::fmt::Debug for WeakResource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WeakResource")
    }
}

impl std::fmt::Debug for SharedResource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SharedResource")
            .field(&self.message())
            .finish()
    }
}

/// A response that is due.
#[derive(Clone, Debug)]
pub struct Response {
    /// The type of its resources.
    pub resource_type: ResourceType,
    /// What the client's answer has to quote.
    pub nonce: String,
    /// What is new or changed.
    pub resources: Vec<SharedResource>,
    /// Names of what no longer exists.
    pub removed: Vec<Arc<str>>,
}

impl Response {
    /// The bytes of all resources' own messages.
    pub fn value_len(&self) -> usize {
        let values = self.resources.iter();
        values.map(|resource| resource.value().len()).sum()
    }

    /// The message, to be encoded piece by piece.
    pub fn into_pieces(self) -> Pieces {
        let rest = DeltaDiscoveryResponse {
            type_url: self.resource_type.url().to_owned(),
            nonce: self.nonce,
            removed_resources: self.removed.iter().map(ToString::to_string).collect(),
            ..Default::default()
        };
        let rest = Bytes::from(rest.encode_to_vec());
        let resources = self.resources.iter();
        let lengths = resources.map(|resource| field_len(&resource.0.message));
        Pieces {
            len: lengths.sum::<usize>() + rest.len(),
            resources: self.resources.into_iter(),
            long: None,
            rest: Some(rest),
        }
    }

    /// The whole message, for tests.
    pub fn into_message(self) -> DeltaDiscoveryResponse {
        let resources = self.resources.iter();
        DeltaDiscoveryResponse {
            resources: resources.map(SharedResource::message).collect(),
            type_url: self.resource_type.url().to_owned(),
            nonce: self.nonce,
            removed_resources: self.removed.iter().map(ToString::to_string).collect(),
            ..Default::default()
        }
    }
}

fn field_len(message: &Bytes) -> usize {
    key_len(RESOURCES_TAG) + encoded_len_varint(message.len() as u64) + message.len()
}

/// A response's encoding, not yet made.
#[derive(Debug)]
pub struct Pieces {
    len: usize,
    resources: std::vec::IntoIter<SharedResource>,
    /// A resource whose key and length were sent.
    long: Option<Bytes>,
    rest: Option<Bytes>,
}

impl Pieces {
    /// The length of the whole message.
    pub fn message_len(&self) -> usize {
        self.len
    }

    /// Adds the next bytes to `piece` until it has about `full`. Nothing more comes from an empty
    /// piece.
    pub fn next(&mut self, mut piece: BytesMut, full: usize) -> Bytes {
        if let Some(long) = self.long.take() {
            debug_assert!(piece.is_empty(), "a long resource is a piece of its own");
            return long;
        }
        while piece.len() < full {
            let Some(resource) = self.resources.next() else {
                piece.extend_from_slice(&self.rest.take().unwrap_or_default());
                break;
            };
            let message = &resource.0.message;
            encode_key(RESOURCES_TAG, WireType::LengthDelimited, &mut piece);
            encode_varint(message.len() as u64, &mut piece);
            if message.len() >= COPIED_BYTES_MAX {
                self.long = Some(message.clone());
                break;
            }
            piece.put_slice(message);
        }
        piece.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(lengths: &[usize]) -> Response {
        let resource = |len: &usize| {
            let name = "n".repeat(*len % 300).into();
            let value = vec![7; *len];
            let url = ResourceType::Cluster.url();
            let shared = SharedResource::new(name, Version::UNKNOWN, url, &value);
            assert_eq!(shared.value(), &value);
            shared
        };
        Response {
            resource_type: ResourceType::Cluster,
            nonce: "7".into(),
            resources: lengths.iter().map(resource).collect(),
            removed: vec!["gone".into()],
        }
    }

    #[test]
    fn the_pieces_are_the_message() {
        for lengths in [
            &[][..],
            &[0, 1, 127, 128, 300],
            &[COPIED_BYTES_MAX, 5, 100_000, COPIED_BYTES_MAX - 20],
            &[1000; 100],
        ] {
            let response = response(lengths);
            let expected = response.clone().into_message().encode_to_vec();
            let mut pieces = response.into_pieces();
            assert_eq!(pieces.message_len(), expected.len());
            let mut encoded = Vec::new();
            loop {
                let piece = pieces.next(BytesMut::new(), 4096);
                if piece.is_empty() {
                    break;
                }
                encoded.extend_from_slice(&piece);
            }
            assert_eq!(encoded, expected, "{lengths:?}");
        }
    }

    #[test]
    fn long_resources_are_not_copied() {
        let response = response(&[100_000]);
        let shared = response.resources[0].clone();
        let mut pieces = response.into_pieces();
        pieces.next(BytesMut::new(), 4096);
        let long = pieces.next(BytesMut::new(), 4096);
        assert_eq!(long.as_ptr(), shared.0.message.as_ptr());
    }
}
