//! A control plane that serves what a test sets, over real gRPC.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};
use xds::envoy::discovery::{DeltaDiscoveryRequest, DiscoveryRequest};
use xds::prost::{Message, Name};
use xds::proto::ads::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use xds::resource::{Any, DeltaDiscoveryResponse, DiscoveryResponse};
use xds::test_util::FakeServer;
use xds::type_url::ResourceType;

/// The part of a bootstrap that names the control plane; its cluster is [`cluster`](ControlPlane::cluster).
pub(crate) const ADS: &str = "dynamic_resources: { ads_config: { api_type: DELTA_GRPC, \
    transport_api_version: V3, grpc_services: [{ envoy_grpc: { cluster_name: ads } }] } }";

/// A running control plane.
pub(crate) struct ControlPlane {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    server: Mutex<FakeServer>,
    changes: watch::Sender<u64>,
}

impl ControlPlane {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            server: Mutex::new(FakeServer::new(1)),
            changes: watch::Sender::new(0),
        });
        let service = AggregatedDiscoveryServiceServer::new(Service(shared.clone()));
        tokio::spawn(
            tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming(TcpListenerStream::new(listener)),
        );
        Self { address, shared }
    }

    /// The cluster by which a proxy reaches it.
    pub(crate) fn cluster(&self) -> String {
        let http2 = "typed_extension_protocol_options: { \
            envoy.extensions.upstreams.http.v3.HttpProtocolOptions: { \
            \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, \
            explicit_http_config: { http2_protocol_options: {} } } },";
        crate::harness::cluster("ads", self.address, http2)
    }

    /// Sets a resource, which is sent at once to who has asked for it.
    pub(crate) fn set<M: Message + Name>(&self, of: ResourceType, name: &str, message: &M) {
        let mut server = self.shared.server.lock().unwrap();
        server.set(of, name, Any::pack(message));
        self.shared.changes.send_modify(|change| *change += 1);
    }
}

struct Service(Arc<Shared>);

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl AggregatedDiscoveryService for Service {
    type StreamAggregatedResourcesStream = Responses<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Responses<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        _: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        Err(Status::unimplemented("delta only"))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        let (responses, outgoing) = mpsc::channel(64);
        tokio::spawn(serve(self.0.clone(), request.into_inner(), responses));
        Ok(Response::new(Box::pin(ReceiverStream::new(outgoing))))
    }
}

async fn serve(
    shared: Arc<Shared>,
    mut requests: Streaming<DeltaDiscoveryRequest>,
    responses: mpsc::Sender<Result<DeltaDiscoveryResponse, Status>>,
) {
    let mut changes = shared.changes.subscribe();
    shared.server.lock().unwrap().disconnect();
    loop {
        tokio::select! {
            request = requests.next() => match request {
                Some(Ok(request)) => shared.server.lock().unwrap().receive(&request),
                _ => return,
            },
            changed = changes.changed() => if changed.is_err() { return },
        }
        let due = shared.server.lock().unwrap().send();
        for response in due {
            if responses.send(Ok(response)).await.is_err() {
                return;
            }
        }
    }
}
