//! `envoy.filters.http.peer_metadata`: workloads tell each other who they are, as Istio's metadata exchange.
//!
//! The client's proxy adds `x-envoy-peer-metadata` to the request, the server's proxy to the response; each takes
//! the other's away, so that applications see neither. Values are believed on mutual TLS only: anyone could
//! write the header on a plaintext connection.

use std::rc::Rc;

use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::registry::Build;
use super::{Filter, HeadContext, ResponseHead, Step};
use crate::config::filter::FilterConfig;
use crate::config::filter::peer_metadata::{PeerMetadataConfig, Ways};
use crate::config::metadata::Value;
use crate::stream::{RequestHead, Stream};
use crate::telemetry::peer_metadata::{to_header, to_id};

const PEER_METADATA: HeaderName = HeaderName::from_static("x-envoy-peer-metadata");
const PEER_METADATA_ID: HeaderName = HeaderName::from_static("x-envoy-peer-metadata-id");

/// The filter.
#[derive(Debug)]
struct PeerMetadata {
    ways: Ways,
    /// Our own, ready to send.
    metadata: HeaderValue,
    /// Our name, ready to send.
    id: HeaderValue,
}

/// The client told who it is, and so reads who we are.
struct Asked;

/// The message that configures the filter, inside a `TypedStruct`.
pub(super) const KIND: &str = "io.istio.http.peer_metadata.Config";

pub(super) fn build(config: &FilterConfig, _: &Build<'_>) -> Option<Rc<dyn Filter>> {
    let config = config.get::<PeerMetadataConfig>()?;
    let value = |text: String| {
        // Names of Kubernetes objects are always header values; anything else is not worth telling.
        HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
    };
    Some(Rc::new(PeerMetadata {
        ways: config.ways,
        metadata: value(to_header(&config.local)),
        id: value(to_id(&config.local)),
    }))
}

impl PeerMetadata {
    fn tell(&self, headers: &mut HeaderMap) {
        headers.insert(PEER_METADATA, self.metadata.clone());
        headers.insert(PEER_METADATA_ID, self.id.clone());
    }
}

impl Filter for PeerMetadata {
    fn request_head(
        &self,
        context: &mut HeadContext<'_>,
        request: &mut RequestHead,
    ) -> Step<RequestHead> {
        // What comes from the application or from outside is never passed on as the mesh's own.
        let told = take(&mut request.headers);
        let ways = self.ways;
        if ways.downstream_discovery
            && let Some(told) = told
        {
            let stream = &mut *context.stream;
            let tls = stream.connection.info.tls.as_ref();
            if tls.is_some_and(|tls| tls.peer.is_some()) {
                stream.info.peer = stream.worker().telemetry.peers.decode(&told);
            }
            if ways.downstream_propagation {
                context.set_state(Asked);
            }
        }
        if ways.upstream_propagation && !leaves_the_mesh(context.stream) {
            self.tell(&mut request.headers);
        }
        Step::Continue
    }

    fn response_head(
        &self,
        context: &mut HeadContext<'_>,
        response: &mut ResponseHead,
    ) -> Step<ResponseHead> {
        if self.ways.upstream_discovery {
            let told = take(&mut response.headers);
            let stream = &mut *context.stream;
            let connection = stream.info.upstream_connection.as_ref();
            let server = connection.and_then(|facts| facts.tls.as_ref()?.peer.as_ref());
            if let (Some(told), Some(_)) = (&told, server) {
                stream.info.peer = stream.worker().telemetry.peers.decode(told);
            }
        }
        // A client that told nothing does not read the answer.
        if context.state::<Asked>().is_some() {
            self.tell(&mut response.headers);
        }
        Step::Continue
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
