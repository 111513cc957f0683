//! The client against a server that says what the test tells it to, over real gRPC on loopback.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::Pin;

use tokio::net::TcpListener;
use tokio_stream::Stream as TokioStream;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::Response;
use tonic::transport::Endpoint;
use xds::envoy::cluster as cds;
use xds::envoy::discovery::DiscoveryRequest;
use xds::envoy::endpoint::ClusterLoadAssignment;
use xds::prost::{Message, Name};
use xds::proto::ads::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use xds::resource::{Any, DiscoveryResponse, Resource};

use super::*;
use crate::apply::Translators;
use crate::config::route::RouteConfig;
use crate::context::Node;
use crate::test_util::{PlainTarget, lb_endpoint, locality, static_cluster};

type Responses<T> = Pin<Box<dyn TokioStream<Item = Result<T, Status>> + Send>>;

/// One stream as the test sees it.
struct Session {
    requests: mpsc::Receiver<DeltaDiscoveryRequest>,
    responses: mpsc::Sender<Result<DeltaDiscoveryResponse, Status>>,
}

struct Scripted {
    sessions: mpsc::Sender<Session>,
    headers: Headers,
}

/// When a server sends its response headers.
#[derive(Clone, Copy, PartialEq)]
enum Headers {
    /// As tonic: at once.
    AtOnce,
    /// As grpc-go and grpcio: with the first response.
    WithResponse,
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for Scripted {
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
        let mut incoming = request.into_inner();
        let (received, requests) = mpsc::channel(64);
        let (responses, mut outgoing) = mpsc::channel(64);
        tokio::spawn(async move {
            while let Ok(Some(request)) = incoming.message().await {
                if received.send(request).await.is_err() {
                    return;
                }
            }
        });
        let session = Session {
            requests,
            responses,
        };
        self.sessions
            .send(session)
            .await
            .map_err(|_| Status::unavailable("the test is over"))?;
        let first = match self.headers {
            Headers::AtOnce => None,
            Headers::WithResponse => outgoing.recv().await,
        };
        let rest = ReceiverStream::new(outgoing);
        let all = tokio_stream::StreamExt::chain(tokio_stream::iter(first), rest);
        Ok(Response::new(Box::pin(all)))
    }
}

impl Session {
    async fn request(&mut self) -> DeltaDiscoveryRequest {
        let request = tokio::time::timeout(Duration::from_secs(10), self.requests.recv()).await;
        request
            .expect("a request comes")
            .expect("the stream is open")
    }

    async fn respond(&self, resource_type: ResourceType, nonce: &str, resources: Vec<Resource>) {
        let response = DeltaDiscoveryResponse {
            resources,
            type_url: resource_type.url().into(),
            nonce: nonce.into(),
            ..Default::default()
        };
        self.responses.send(Ok(response)).await.unwrap();
    }
}

fn resource<M: Message + Name>(name: &str, version: &str, message: &M) -> Resource {
    Resource {
        name: name.into(),
        version: version.into(),
        resource: Some(Any::pack(message)),
        aliases: Vec::new(),
    }
}

async fn serve() -> (SocketAddr, mpsc::Receiver<Session>) {
    serve_with(Headers::AtOnce).await
}

async fn serve_with(headers: Headers) -> (SocketAddr, mpsc::Receiver<Session>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sessions, accepted) = mpsc::channel(8);
    let service = AggregatedDiscoveryServiceServer::new(Scripted { sessions, headers });
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(service)
            .serve_with_incoming(TcpListenerStream::new(listener)),
    );
    (address, accepted)
}

/// A running client of the server at an address.
fn start(address: SocketAddr) -> (PlainTarget, Arc<XdsStatus>, CancellationToken) {
    start_with(address, None, Duration::from_secs(60))
}

fn start_with(
    address: SocketAddr,
    required_listener: Option<&str>,
    first_response_timeout: Duration,
) -> (PlainTarget, Arc<XdsStatus>, CancellationToken) {
    let config = PlainTarget::default();
    let status = Arc::new(XdsStatus::default());
    let translators = Translators {
        listener: crate::lds::listener,
        route: |_, _| Ok(RouteConfig::default()),
    };
    let mut applier = Applier::new(
        config.clone(),
        Arc::new(Node::default()),
        translators,
        status.clone(),
    );
    let control_plane = cds::Cluster {
        name: "xds".into(),
        load_assignment: Some(assignment("xds", address)),
        ..static_cluster()
    };
    let bytes = control_plane.encode_to_vec().into();
    let now = Instant::now();
    applier
        .apply_static(ResourceType::Cluster, "xds", bytes, now)
        .unwrap();
    applier.warm(now);
    let ads = AdsOptions {
        cluster: applier.names().cluster("xds"),
        node: core::Node {
            id: "node-1".into(),
            ..Default::default()
        },
        metadata: Box::new(MetadataMap::new),
        required_listener: required_listener.map(Into::into),
        first_response_timeout,
        channel: Box::new(move || {
            let endpoint = Endpoint::from_shared(format!("http://{address}"));
            endpoint.expect("an address is a URI").connect_lazy()
        }),
    };
    let (_, answers) = mpsc::channel(1);
    let names = NameLookup {
        follow: Box::new(|_| {}),
        answers,
    };
    let (_, secrets) = watch::channel(0);
    let client = XdsClient::new(applier, Some(ads), secrets, names, status.clone());
    let stop = CancellationToken::new();
    tokio::spawn(client.run(stop.clone()));
    (config, status, stop)
}

fn assignment(name: &str, address: SocketAddr) -> ClusterLoadAssignment {
    let endpoint = lb_endpoint(&address.ip().to_string(), address.port(), 1);
    ClusterLoadAssignment {
        cluster_name: name.into(),
        endpoints: vec![locality(0, 1, vec![endpoint])],
        ..Default::default()
    }
}

fn eds_cluster(name: &str) -> cds::Cluster {
    use xds::envoy::core::config_source::ConfigSourceSpecifier;
    let source = core::ConfigSource {
        config_source_specifier: Some(ConfigSourceSpecifier::Ads(Default::default())),
        ..Default::default()
    };
    let eds = cds::cluster::DiscoveryType::Eds as i32;
    cds::Cluster {
        name: name.into(),
        cluster_discovery_type: Some(cds::cluster::ClusterDiscoveryType::Type(eds)),
        eds_cluster_config: Some(cds::cluster::EdsClusterConfig {
            eds_config: Some(source),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// Brings a client to the point where a cluster `a` with one endpoint is in force.
async fn warmed(session: &mut Session) {
    let first = session.request().await;
    assert_eq!(first.type_url, ResourceType::Cluster.url());
    assert_eq!(first.node.map(|node| node.id), Some("node-1".to_owned()));
    assert_eq!(first.resource_names_subscribe, ["*"]);
    session
        .respond(
            ResourceType::Cluster,
            "n1",
            vec![resource("a", "1", &eds_cluster("a"))],
        )
        .await;
    let ack = session.request().await;
    assert_eq!(
        (ack.response_nonce.as_str(), ack.error_detail),
        ("n1", None)
    );

    let endpoints = session.request().await;
    assert_eq!(endpoints.type_url, ResourceType::Endpoint.url());
    assert_eq!(endpoints.resource_names_subscribe, ["a"]);
    let address = "10.0.0.1:80".parse().unwrap();
    let assignment = resource("a", "1", &assignment("a", address));
    session
        .respond(ResourceType::Endpoint, "n2", vec![assignment])
        .await;
    assert_eq!(session.request().await.response_nonce, "n2");

    let listeners = session.request().await;
    assert_eq!(
        listeners.type_url,
        ResourceType::Listener.url(),
        "only now, when the cluster is warm"
    );
    session
        .respond(ResourceType::Listener, "n3", Vec::new())
        .await;
    assert_eq!(session.request().await.response_nonce, "n3");
}

#[tokio::test]
async fn resources_are_asked_for_in_order_and_the_proxy_becomes_ready() {
    let (address, mut sessions) = serve().await;
    let (config, status, _stop) = start(address);
    let mut session = sessions.recv().await.unwrap();
    let mut initialized = status.initialized();
    assert!(!*initialized.borrow());
    warmed(&mut session).await;
    initialized.wait_for(|ready| *ready).await.unwrap();
    let names: Vec<_> = config
        .load()
        .clusters
        .iter()
        .flatten()
        .map(|cluster| cluster.name.to_string())
        .collect();
    assert_eq!(names, ["xds", "a"]);
    assert!(status.connected());
}

#[tokio::test]
async fn a_refused_resource_is_named_and_the_rest_applies() {
    let (address, mut sessions) = serve().await;
    let (config, status, _stop) = start(address);
    let mut session = sessions.recv().await.unwrap();
    warmed(&mut session).await;
    let bad = cds::Cluster {
        lb_policy: 77,
        ..eds_cluster("bad")
    };
    let good = cds::Cluster {
        name: "good".into(),
        ..static_cluster()
    };
    let resources = vec![resource("bad", "2", &bad), resource("good", "2", &good)];
    session
        .respond(ResourceType::Cluster, "n4", resources)
        .await;
    let nack = session.request().await;
    assert_eq!(nack.response_nonce, "n4");
    assert_eq!(
        nack.error_detail.unwrap().message,
        "bad: lb_policy: no such policy: 77"
    );
    assert!(
        config
            .load()
            .clusters
            .iter()
            .flatten()
            .any(|cluster| &*cluster.name == "good")
    );
    assert_eq!(status.counts()[&ResourceType::Cluster].rejected, 1);
}

#[tokio::test]
async fn the_configuration_survives_the_stream_and_the_next_one_begins_with_it() {
    let (address, mut sessions) = serve().await;
    let (config, status, stop) = start(address);
    let mut session = sessions.recv().await.unwrap();
    warmed(&mut session).await;
    let before = config.load();
    drop(session);
    let mut session = sessions.recv().await.unwrap();
    assert!(Arc::ptr_eq(&before, &config.load()));
    let mut versions = HashMap::new();
    for _ in 0..3 {
        let request = session.request().await;
        let resource_type = ResourceType::from_url(&request.type_url).unwrap();
        versions.insert(resource_type, request.initial_resource_versions);
    }
    let one = HashMap::from([("a".to_owned(), "1".to_owned())]);
    assert_eq!(
        versions,
        HashMap::from([
            (ResourceType::Cluster, one.clone()),
            (ResourceType::Endpoint, one),
            (ResourceType::Listener, HashMap::new()),
        ])
    );
    session
        .respond(ResourceType::Listener, "n4", Vec::new())
        .await;
    assert_eq!(session.request().await.response_nonce, "n4");
    assert_eq!(status.connects(), 2);
    stop.cancel();
    assert!(
        session.requests.recv().await.is_none(),
        "a stopped client ends its stream"
    );
}

#[tokio::test]
async fn a_server_may_send_its_headers_with_its_first_response() {
    let (address, mut sessions) = serve_with(Headers::WithResponse).await;
    let (_config, status, _stop) = start(address);
    let mut session = sessions.recv().await.unwrap();
    let mut initialized = status.initialized();
    warmed(&mut session).await;
    initialized.wait_for(|ready| *ready).await.unwrap();
    assert!(status.connected());
}

#[tokio::test]
async fn a_server_without_a_response_is_tried_again() {
    for headers in [Headers::AtOnce, Headers::WithResponse] {
        let (address, mut sessions) = serve_with(headers).await;
        let (_config, status, _stop) = start_with(address, None, Duration::from_millis(100));
        let mut silent = sessions.recv().await.unwrap();
        assert_eq!(silent.request().await.type_url, ResourceType::Cluster.url());
        let mut session = sessions.recv().await.unwrap();
        assert!(silent.requests.recv().await.is_none(), "it was given up");
        let mut initialized = status.initialized();
        warmed(&mut session).await;
        initialized.wait_for(|ready| *ready).await.unwrap();
    }
}

/// A listener without a socket of its own.
fn listener(name: &str) -> Resource {
    let json = serde_json::json!({
        "name": name,
        "address": {"socket_address": {"address": "0.0.0.0", "port_value": 9080}},
        "bind_to_port": false,
        "filter_chains": [{"filters": [{
            "name": "tcp",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
                "stat_prefix": "t",
                "cluster": "a",
            },
        }]}],
    });
    let listener: xds::envoy::listener::Listener = xds::json::Json::load().decode(&json).unwrap();
    resource(name, "1", &listener)
}

#[tokio::test]
async fn a_proxy_is_not_ready_without_a_listener_that_it_requires() {
    let (address, mut sessions) = serve().await;
    let (_config, status, _stop) =
        start_with(address, Some("virtualInbound"), Duration::from_secs(60));
    let mut session = sessions.recv().await.unwrap();
    let mut initialized = status.initialized();
    warmed(&mut session).await;
    session
        .respond(ResourceType::Listener, "n4", vec![listener("other")])
        .await;
    assert_eq!(session.request().await.response_nonce, "n4");
    assert!(!*initialized.borrow());
    session
        .respond(
            ResourceType::Listener,
            "n5",
            vec![listener("virtualInbound")],
        )
        .await;
    initialized.wait_for(|ready| *ready).await.unwrap();
}
