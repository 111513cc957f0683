//! The discovery service: aggregated xDS over gRPC, delta form.
//!
//! Differs from Istio: the state-of-the-world form is not served; every client that the mesh
//! configures (our proxy, Envoy under our agent) speaks delta.

pub mod authenticate;
pub mod connection;
pub mod debounce;
pub mod push_queue;
mod readable;
pub mod refusals;
pub mod registry;

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use futures_util::Stream;
use tokio::sync::watch;
use tonic::{Request, Response, Status, Streaming, async_trait};
use xds::envoy::discovery::{DeltaDiscoveryRequest, DiscoveryRequest};
use xds::proto::ads::aggregated_discovery_service_server::AggregatedDiscoveryService;
use xds::resource::{DeltaDiscoveryResponse, DiscoveryResponse};

use self::authenticate::{PeerIdentity, proven};
use self::connection::{Connection, Peer, Shared};
use crate::world::World;

/// A boxed stream of responses.
type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The tonic service.
#[derive(Clone, Debug)]
pub struct AdsService {
    shared: Arc<Shared>,
    worlds: watch::Receiver<Arc<World>>,
}

impl AdsService {
    /// A service that serves the worlds that come over `worlds`.
    pub fn new(shared: Arc<Shared>, worlds: watch::Receiver<Arc<World>>) -> Self {
        Self { shared, worlds }
    }

    /// Refuses strangers before a byte of their stream is decoded.
    fn admit(&self, peer: &Peer) -> Result<(), Status> {
        let Err(error) = proven(peer.identity.as_ref()) else {
            return Ok(());
        };
        tracing::warn!(address = ?peer.address, %error, "proxy refused");
        let reason = error.to_string();
        if let Some(caller) = peer.address {
            let now = SystemTime::now();
            self.shared.refusals.refused(caller, &reason, now);
        }
        Err(Status::unauthenticated(reason))
    }
}

#[async_trait]
impl AggregatedDiscoveryService for AdsService {
    type StreamAggregatedResourcesStream = Responses<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Responses<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        _request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        Err(Status::unimplemented(
            "use DeltaAggregatedResources (api_type: DELTA_GRPC)",
        ))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        let extensions = request.extensions();
        let peer = Peer {
            identity: extensions.get::<PeerIdentity>().cloned(),
            address: extensions.get::<SocketAddr>().map(SocketAddr::ip),
        };
        self.admit(&peer)?;
        let (shared, worlds) = (Arc::clone(&self.shared), self.worlds.clone());
        let connection = Connection::new(shared, worlds, peer, request.into_inner());
        Ok(Response::new(Box::pin(connection.responses())))
    }
}
