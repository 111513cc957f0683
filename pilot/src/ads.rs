//! The discovery service: aggregated xDS over gRPC, delta form.
//!
//! Differs from Istio: the state-of-the-world form is not served; every client that the mesh
//! configures (our proxy, Envoy under our agent) speaks delta.

pub mod authenticate;
pub mod connection;
pub mod debounce;
pub mod progress;
mod readable;
pub mod receive;
pub mod refusals;
pub mod registry;
mod request;
mod send;
pub mod session;
pub mod threads;

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use axum::http;
use tokio::sync::watch;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{Service, StdError};
use tonic::metadata::GRPC_CONTENT_TYPE;
use tonic::server::NamedService;

use self::authenticate::{PeerIdentity, proven};
use self::connection::{Connection, Shared};
use self::receive::Requests;
use self::send::Responses;
use self::session::Peer;
use crate::world::World;

/// The gRPC service. It is a service of HTTP rather than tonic's, because tonic keeps an encoding
/// of the longest response for as long as its stream lives.
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

    fn serve<B>(&self, request: http::Request<B>) -> Result<http::Response<Body>, Status>
    where
        B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
        B::Error: Into<StdError>,
    {
        let method = request.uri().path().strip_prefix('/');
        let method = method.and_then(|path| path.strip_prefix(Self::NAME));
        match method {
            Some("/DeltaAggregatedResources") => {}
            Some("/StreamAggregatedResources") => {
                return Err(Status::unimplemented(
                    "use DeltaAggregatedResources (api_type: DELTA_GRPC)",
                ));
            }
            _ => return Err(Status::unimplemented("no such method")),
        }
        let extensions = request.extensions();
        let peer = Peer {
            identity: extensions.get::<PeerIdentity>().cloned(),
            address: extensions.get::<SocketAddr>().map(SocketAddr::ip),
        };
        self.admit(&peer)?;
        let requests = Requests::new(Body::new(request.into_body()));
        let (shared, worlds) = (Arc::clone(&self.shared), self.worlds.clone());
        let connection = Connection::new(shared, worlds, peer, requests);
        let responses = Responses::new(Box::pin(connection.responses()));
        let mut response = http::Response::new(Body::new(responses));
        let headers = response.headers_mut();
        headers.insert(http::header::CONTENT_TYPE, GRPC_CONTENT_TYPE);
        Ok(response)
    }
}

impl<B> Service<http::Request<B>> for AdsService
where
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<StdError>,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        ready(Ok(self.serve(request).unwrap_or_else(Status::into_http)))
    }
}

impl NamedService for AdsService {
    const NAME: &'static str = "envoy.service.discovery.v3.AggregatedDiscoveryService";
}
