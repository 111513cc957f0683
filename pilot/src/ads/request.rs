//! Discovery requests as bytes: bounded before they are decoded.
//!
//! A proxy that connects again says at once which resources it wants and which it has, by name, so
//! requests of a large mesh are large. What may be in one follows from 10,000 services of one or
//! two ports, whose names and versions have less than 100 bytes each; `clusters` counts them once,
//! `endpoints` twice (wanted, and had already).
//!
//! gRPC's own limit for a message is 4 MiB, of which a decoded message could make hundreds.

use std::fmt;

use bytes::{Buf, Bytes};
use tonic::Status;
use xds::delta::NAMES_MAX;
use xds::envoy::discovery::DeltaDiscoveryRequest;
use xds::prost::Message;
use xds::prost::encoding::{WireType, decode_key, decode_varint};
use xds::type_url::ResourceType;

/// The node: Kubernetes takes 256 KiB of annotations, which a proxy may pass on in its metadata,
/// and Envoy lists its extensions.
const NODE_BYTES_MAX: usize = 384 * 1024;

/// All but the node, of the type with the largest requests.
const ENDPOINT_BYTES_MAX: usize = 2560 * 1024;

/// All but the node, of types whose names or versions a request has.
const NAMED_BYTES_MAX: usize = 1536 * 1024;

/// All but the node, of types of which a proxy has few.
const FEW_BYTES_MAX: usize = 256 * 1024;

/// One name: a host has 253 bytes, a subset 63.
const NAME_BYTES_MAX: usize = 1024;

/// The longest request.
pub(super) const REQUEST_BYTES_MAX: usize = NODE_BYTES_MAX + ENDPOINT_BYTES_MAX;

/// Requests up to this length are decoded where they are received.
pub(super) const SHORT_BYTES_MAX: usize = 4 * 1024;

/// The fields of `DeltaDiscoveryRequest`.
mod field {
    pub(super) const NODE: u32 = 1;
    pub(super) const TYPE_URL: u32 = 2;
    pub(super) const SUBSCRIBE: u32 = 3;
    pub(super) const UNSUBSCRIBE: u32 = 4;
    pub(super) const INITIAL_VERSIONS: u32 = 5;
}

/// What a request exceeds.
#[derive(Debug, PartialEq, Eq)]
struct Excess {
    what: &'static str,
    found: usize,
    limit: usize,
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, found, limit } = self;
        write!(f, "{what}: {found} in one request, the limit is {limit}")
    }
}

/// Decodes a request unless it exceeds a limit.
pub(super) fn decode(encoded: Bytes) -> Result<DeltaDiscoveryRequest, Status> {
    let malformed = || Status::invalid_argument("malformed discovery request");
    let size = Size::of(encoded.clone()).map_err(|Malformed| malformed())?;
    if let Some(excess) = size.excess() {
        return Err(Status::invalid_argument(excess.to_string()));
    }
    DeltaDiscoveryRequest::decode(encoded).map_err(|_| malformed())
}

/// How much of what is in a request.
#[derive(Debug, Default)]
struct Size {
    total: usize,
    node: usize,
    resource_type: Option<ResourceType>,
    subscribed: usize,
    unsubscribed: usize,
    versions: usize,
    longest_name: usize,
}

struct Malformed;

impl Size {
    /// Looks at the lengths of the fields alone.
    fn of(mut encoded: Bytes) -> Result<Self, Malformed> {
        let mut size = Self {
            total: encoded.len(),
            ..Self::default()
        };
        while encoded.has_remaining() {
            let (tag, wire_type) = decode_key(&mut encoded).map_err(|_| Malformed)?;
            // Every field of the message is one of these; so are fields of later versions.
            if wire_type != WireType::LengthDelimited {
                return Err(Malformed);
            }
            let len = decode_varint(&mut encoded).map_err(|_| Malformed)?;
            let len = usize::try_from(len).map_err(|_| Malformed)?;
            if len > encoded.remaining() {
                return Err(Malformed);
            }
            size.add(tag, &encoded.split_to(len));
        }
        Ok(size)
    }

    fn add(&mut self, tag: u32, value: &[u8]) {
        let len = value.len();
        match tag {
            field::NODE => self.node += len,
            field::TYPE_URL => {
                let url = std::str::from_utf8(value).unwrap_or_default();
                self.resource_type = ResourceType::from_url(url);
            }
            field::SUBSCRIBE => self.subscribed += 1,
            field::UNSUBSCRIBE => self.unsubscribed += 1,
            field::INITIAL_VERSIONS => self.versions += 1,
            _ => {}
        }
        if matches!(
            tag,
            field::SUBSCRIBE | field::UNSUBSCRIBE | field::INITIAL_VERSIONS
        ) {
            self.longest_name = self.longest_name.max(len);
        }
    }

    fn excess(&self) -> Option<Excess> {
        let bounds = [
            ("bytes of the node", self.node, NODE_BYTES_MAX),
            (
                "bytes besides the node",
                self.total - self.node,
                bytes_max(self.resource_type),
            ),
            ("resource_names_subscribe", self.subscribed, NAMES_MAX),
            ("resource_names_unsubscribe", self.unsubscribed, NAMES_MAX),
            ("initial_resource_versions", self.versions, NAMES_MAX),
            ("bytes of a name", self.longest_name, NAME_BYTES_MAX),
        ];
        bounds
            .into_iter()
            .find(|(_, found, limit)| found > limit)
            .map(|(what, found, limit)| Excess { what, found, limit })
    }
}

fn bytes_max(resource_type: Option<ResourceType>) -> usize {
    match resource_type {
        Some(ResourceType::Endpoint) => ENDPOINT_BYTES_MAX,
        Some(
            ResourceType::Cluster
            | ResourceType::Listener
            | ResourceType::Route
            | ResourceType::VirtualHost,
        ) => NAMED_BYTES_MAX,
        Some(ResourceType::Secret | ResourceType::ExtensionConfig) | None => FEW_BYTES_MAX,
    }
}

#[cfg(test)]
mod tests {
    use xds::envoy::core;
    use xds::structs;
    use xds::version::Version;

    use super::*;

    fn request(resource_type: ResourceType) -> DeltaDiscoveryRequest {
        DeltaDiscoveryRequest {
            type_url: resource_type.url().into(),
            ..Default::default()
        }
    }

    fn refusal(request: &DeltaDiscoveryRequest) -> String {
        let status = decode(request.encode_to_vec().into()).unwrap_err();
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
        status.message().to_owned()
    }

    /// The names of a mesh of 10,000 services, every second one with two ports.
    fn clusters() -> impl Iterator<Item = String> {
        let port = |port, number| {
            format!(
                "outbound|{port}||service-{number:05}.namespace-{:03}.svc.cluster.local",
                number % 100
            )
        };
        let first = (0..10_000).map(move |number| port(8080, number));
        first.chain((0..5_000).map(move |number| port(9090, number)))
    }

    #[test]
    fn a_proxy_of_a_large_mesh_connects_again() {
        let version = Version::UNKNOWN.to_string().repeat(16);
        let versions = || clusters().map(|name| (name, version.clone())).collect();
        let annotations =
            structs::object([("ANNOTATIONS", structs::string("x".repeat(256 * 1024)))]);
        let node = core::Node {
            metadata: Some(annotations),
            extensions: vec![
                core::Extension {
                    name: "envoy.filters.http.some_extension".into(),
                    type_urls: vec!["type.googleapis.com/envoy.some.v3.Extension".into()],
                    ..Default::default()
                };
                1000
            ],
            ..Default::default()
        };
        let of_clusters = DeltaDiscoveryRequest {
            node: Some(node),
            initial_resource_versions: versions(),
            ..request(ResourceType::Cluster)
        };
        let of_endpoints = DeltaDiscoveryRequest {
            initial_resource_versions: versions(),
            resource_names_subscribe: clusters().collect(),
            ..request(ResourceType::Endpoint)
        };
        for request in [of_clusters, of_endpoints] {
            let encoded = request.encode_to_vec();
            assert_eq!(decode(encoded.into()).unwrap(), request);
        }
    }

    #[test]
    fn what_no_proxy_sends_is_refused_with_its_limit() {
        let names = |count: usize| (0..count).map(|name| name.to_string());
        let endpoint = || request(ResourceType::Endpoint);
        let node = core::Node {
            id: "x".repeat(NODE_BYTES_MAX),
            ..Default::default()
        };
        let value = "x".repeat(1000);
        for (request, text) in [
            (
                DeltaDiscoveryRequest {
                    node: Some(node),
                    ..endpoint()
                },
                "bytes of the node: 393220 in one request, the limit is 393216",
            ),
            (
                DeltaDiscoveryRequest {
                    resource_names_subscribe: names(NAMES_MAX + 1).collect(),
                    ..endpoint()
                },
                "resource_names_subscribe: 32769 in one request, the limit is 32768",
            ),
            (
                DeltaDiscoveryRequest {
                    resource_names_unsubscribe: names(NAMES_MAX + 1).collect(),
                    ..endpoint()
                },
                "resource_names_unsubscribe: 32769 in one request, the limit is 32768",
            ),
            (
                DeltaDiscoveryRequest {
                    initial_resource_versions: names(NAMES_MAX + 1)
                        .map(|n| (n, String::new()))
                        .collect(),
                    ..endpoint()
                },
                "initial_resource_versions: 32769 in one request, the limit is 32768",
            ),
            (
                DeltaDiscoveryRequest {
                    resource_names_subscribe: vec!["x".repeat(NAME_BYTES_MAX + 1)],
                    ..endpoint()
                },
                "bytes of a name: 1025 in one request, the limit is 1024",
            ),
            (
                DeltaDiscoveryRequest {
                    resource_names_subscribe: vec![value.clone(); 3000],
                    ..endpoint()
                },
                "bytes besides the node: 3009068 in one request, the limit is 2621440",
            ),
            (
                DeltaDiscoveryRequest {
                    resource_names_subscribe: vec![value; 300],
                    ..request(ResourceType::Secret)
                },
                "bytes besides the node: 300970 in one request, the limit is 262144",
            ),
        ] {
            assert_eq!(refusal(&request), text);
        }
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for encoded in [&[0x1a, 5, b'x'][..], &[0x08, 1], &[0xff; 20]] {
            let status = decode(Bytes::from_static(encoded)).unwrap_err();
            assert_eq!(status.message(), "malformed discovery request");
        }
    }
}
