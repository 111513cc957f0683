//! `envoy.filters.http.peer_metadata`: workloads tell each other who they are, as Istio's metadata exchange.
//!
//! The client's proxy adds `x-envoy-peer-metadata` to the request, the server's proxy to the response; each takes
//! the other's away, so that applications see neither. Values are believed on mutual TLS only: anyone could
//! write the header on a plaintext connection.

use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::{Filter, Step};
use crate::config::filter::peer_metadata::{PeerMetadataConfig, Ways};
use crate::config::metadata::Value;
use crate::stream::{RequestHead, Stream};
use crate::telemetry::peer_metadata::{to_header, to_id};

const PEER_METADATA: HeaderName = HeaderName::from_static("x-envoy-peer-metadata");
const PEER_METADATA_ID: HeaderName = HeaderName::from_static("x-envoy-peer-metadata-id");

/// The filter.
#[derive(Debug)]
pub struct PeerMetadata {
    name: Box<str>,
    ways: Ways,
    /// Our own, ready to send.
    metadata: HeaderValue,
    id: HeaderValue,
}

impl PeerMetadata {
    /// The filter of a workload, under its name in `http_filters`.
    pub fn new(name: &str, config: &PeerMetadataConfig) -> Self {
        let value = |text: String| {
            // Names of Kubernetes objects are always header values; anything else is not worth telling.
            HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
        };
        Self {
            name: name.into(),
            ways: config.ways,
            metadata: value(to_header(&config.local)),
            id: value(to_id(&config.local)),
        }
    }

    fn tell(&self, headers: &mut HeaderMap) {
        headers.insert(PEER_METADATA, self.metadata.clone());
        headers.insert(PEER_METADATA_ID, self.id.clone());
    }
}

impl Filter for PeerMetadata {
    fn name(&self) -> &str {
        &self.name
    }

    fn decode_headers(&self, stream: &mut Stream, request: &mut RequestHead) -> Step {
        // What comes from the application or from outside is never passed on as the mesh's own.
        let told = take(&mut request.headers);
        if self.ways.downstream_discovery {
            let client = stream
                .connection
                .info
                .tls
                .as_ref()
                .and_then(|tls| tls.peer.as_ref());
            if let (Some(told), Some(_)) = (&told, client) {
                stream.info.peer = stream.worker().telemetry.peers.decode(told);
            }
            stream.peer_asked = told.is_some();
        }
        if self.ways.upstream_propagation && !leaves_the_mesh(stream) {
            self.tell(&mut request.headers);
        }
        Step::Continue
    }

    fn encode_headers(&self, stream: &mut Stream, response: &mut http::response::Parts) {
        if self.ways.upstream_discovery {
            let told = take(&mut response.headers);
            let connection = stream.info.upstream_connection.as_ref();
            let server = connection.and_then(|facts| facts.tls.as_ref()?.peer.as_ref());
            if let (Some(told), Some(_)) = (&told, server) {
                stream.info.peer = stream.worker().telemetry.peers.decode(told);
            }
        }
        // A client that told nothing does not read the answer.
        if self.ways.downstream_propagation && stream.peer_asked {
            self.tell(&mut response.headers);
        }
    }
}

fn take(headers: &mut HeaderMap) -> Option<HeaderValue> {
    headers.remove(PEER_METADATA_ID);
    headers.remove(PEER_METADATA)
}

/// True if the route leads to a cluster outside of the mesh: who we are is nobody's business there.
fn leaves_the_mesh(stream: &Stream) -> bool {
    let cluster = stream.info.cluster.and_then(|id| stream.view.cluster(id));
    cluster.is_some_and(|cluster| {
        let external = cluster.metadata.path("istio", ["external"]);
        external == Some(&Value::Bool(true)) || cluster.service.is_none()
    })
}
