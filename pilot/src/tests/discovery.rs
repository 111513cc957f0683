//! The whole of discovery over a real connection: what a proxy gets, and what it gets again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mesh_api::snapshot::Snapshot;
use mesh_api::snapshot::diff::Changes;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Server};
use tonic::{Request, Status, Streaming};
use xds::delta::Client;
use xds::envoy::core;
use xds::envoy::discovery::DeltaDiscoveryRequest;
use xds::proto::ads::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use xds::resource::DeltaDiscoveryResponse;
use xds::type_url::ResourceType;

use super::fixture::*;
use crate::access::Nobody;
use crate::ads::authenticate::PeerIdentity;
use crate::ads::refusals::Refusals;
use crate::ads::registry::Registry;
use crate::app::{Config, Pilot};

/// Longer than any answer takes; only a test that fails waits for it.
const PATIENCE: Duration = Duration::from_secs(10);
const REVIEWS: &str = "reviews.default.svc.cluster.local";

/// Discovery on a loopback port.
struct Running {
    snapshots: watch::Sender<Arc<Snapshot>>,
    registry: Registry,
    refusals: Refusals,
    metrics: mesh_runtime::metrics::Registry,
    address: String,
    _stop: DropGuard,
}

impl Running {
    async fn start(snapshot: Arc<Snapshot>, peer: Option<PeerIdentity>) -> Self {
        let (snapshots, receiver) = watch::channel(snapshot);
        let pilot = Pilot::new(receiver, Arc::new(Nobody), Config::default()).unwrap();
        let registry = pilot.registry().clone();
        let mut metrics = mesh_runtime::metrics::Registry::default();
        pilot.register(&mut metrics);
        let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = format!("http://{}", incoming.local_addr().unwrap());
        let refusals = pilot.refusals().clone();
        let identify = move |mut request: Request<()>| {
            if let Some(address) = request.remote_addr() {
                request.extensions_mut().insert(address);
            }
            if let Some(peer) = peer.clone() {
                request.extensions_mut().insert(peer);
            }
            Ok(request)
        };
        let service =
            tonic::service::interceptor::InterceptedService::new(pilot.ads_service(), identify);
        let stop = CancellationToken::new();
        tokio::spawn(
            Server::builder()
                .add_service(service)
                .serve_with_incoming(incoming),
        );
        tokio::spawn(pilot.run(stop.clone()));
        Self {
            snapshots,
            registry,
            refusals,
            metrics,
            address,
            _stop: stop.drop_guard(),
        }
    }

    /// The value of a series, 0 if there is none.
    fn metric(&self, series: &str) -> f64 {
        let text = mesh_runtime::metrics::encode(&self.metrics);
        let mut values = text.lines().filter_map(|line| line.strip_prefix(series));
        values
            .find_map(|value| value.trim().parse().ok())
            .unwrap_or_default()
    }

    /// Publishes a changed snapshot.
    fn publish(&self, changes: Changes, change: impl FnOnce(&mut Mesh)) {
        let mut mesh = Mesh {
            snapshot: Snapshot::clone(&self.snapshots.borrow()),
        };
        change(&mut mesh);
        mesh.snapshot.version += 1;
        mesh.snapshot.changes = Arc::new(changes);
        self.snapshots.send_replace(mesh.snapshot());
    }
}

/// A proxy that fetches clusters and listeners, and endpoints and routes by name.
struct Proxy {
    client: Client,
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
    has: BTreeMap<ResourceType, BTreeSet<String>>,
}

impl Proxy {
    async fn connect(running: &Running) -> Result<Self, Status> {
        let channel = Channel::from_shared(running.address.clone()).unwrap();
        let channel = channel.connect().await.unwrap();
        let (requests, receiver) = mpsc::channel(16);
        let mut client = Client::default();
        for resource_type in [ResourceType::Cluster, ResourceType::Listener] {
            client.subscribe(resource_type, "*");
        }
        for mut request in client.connect() {
            request.node = Some(core::Node {
                id: "sidecar~10.244.0.0~productpage-v1-abc.default~default.svc.cluster.local"
                    .into(),
                user_agent_name: "weft".into(),
                ..Default::default()
            });
            requests.send(request).await.unwrap();
        }
        let stream = futures_util::stream::unfold(receiver, |mut receiver| async {
            Some((receiver.recv().await?, receiver))
        });
        let mut service = AggregatedDiscoveryServiceClient::new(channel);
        let responses = service
            .delta_aggregated_resources(stream)
            .await?
            .into_inner();
        Ok(Self {
            client,
            requests,
            responses,
            has: BTreeMap::new(),
        })
    }

    /// Everything until each of the types has come once.
    async fn warm_up(&mut self) {
        while self.has.len() < 2 {
            self.next().await.unwrap();
        }
        let assignments = self.has[&ResourceType::Cluster].clone();
        let assignments = assignments
            .iter()
            .filter(|name| name.starts_with("outbound|"));
        self.client
            .set_names(ResourceType::Endpoint, assignments.map(String::as_str));
        self.client.subscribe(ResourceType::Route, "9080");
        for request in self.client.pending() {
            self.requests.send(request).await.unwrap();
        }
        while self.has.len() < 4 {
            self.next().await.unwrap();
        }
    }

    /// The next response, acknowledged: its type and names.
    async fn next(&mut self) -> Result<(ResourceType, Vec<String>), Status> {
        self.next_refusing(&[]).await
    }

    async fn next_refusing(
        &mut self,
        refused: &[(String, String)],
    ) -> Result<(ResourceType, Vec<String>), Status> {
        let response = tokio::time::timeout(PATIENCE, self.responses.message()).await;
        let response = response
            .expect("an answer in time")?
            .expect("the stream goes on");
        let update = self
            .client
            .on_response(response)
            .expect("only what was asked for");
        let answer = self.client.answer(&update, refused);
        self.requests.send(answer).await.unwrap();
        let names: Vec<_> = update
            .changed
            .iter()
            .map(|resource| resource.name.clone())
            .collect();
        self.has
            .entry(update.resource_type)
            .or_default()
            .extend(names.clone());
        Ok((update.resource_type, names))
    }
}

#[tokio::test]
async fn a_proxy_gets_what_it_needs() {
    let running = Running::start(Mesh::bookinfo().snapshot(), Some(PeerIdentity::Trusted)).await;
    let mut proxy = Proxy::connect(&running).await.unwrap();
    proxy.warm_up().await;
    let names = |resource_type| -> Vec<&str> {
        proxy.has[&resource_type]
            .iter()
            .map(String::as_str)
            .collect()
    };
    assert_eq!(
        names(ResourceType::Cluster),
        [
            "BlackHoleCluster",
            "InboundPassthroughCluster",
            "PassthroughCluster",
            "outbound|80||istio-ingressgateway.istio-system.svc.cluster.local",
            "outbound|9080||details.default.svc.cluster.local",
            "outbound|9080||productpage.default.svc.cluster.local",
            "outbound|9080||ratings.default.svc.cluster.local",
            "outbound|9080||reviews.default.svc.cluster.local",
        ]
    );
    assert_eq!(
        names(ResourceType::Listener),
        [
            "0.0.0.0_80",
            "0.0.0.0_9080",
            "virtualInbound",
            "virtualOutbound"
        ]
    );
    assert_eq!(names(ResourceType::Route), ["9080"]);
}

#[tokio::test]
async fn a_changed_endpoint_touches_its_assignment_alone() {
    let running = Running::start(Mesh::bookinfo().snapshot(), Some(PeerIdentity::Trusted)).await;
    let mut proxy = Proxy::connect(&running).await.unwrap();
    proxy.warm_up().await;

    let key = mesh_api::snapshot::ServiceKey {
        hostname: REVIEWS.parse().unwrap(),
        namespace: "default".into(),
    };
    let changes = Changes {
        endpoints: [key.clone()].into(),
        ..Default::default()
    };
    running.publish(changes, |mesh| {
        let endpoints = edit(&mut mesh.snapshot.endpoints).get_mut(&key).unwrap();
        Arc::make_mut(endpoints)
            .by_port
            .get_mut(&9080)
            .unwrap()
            .pop();
    });
    let expected = (
        ResourceType::Endpoint,
        vec![format!("outbound|9080||{REVIEWS}")],
    );
    assert_eq!(proxy.next().await.unwrap(), expected);
}

#[tokio::test]
async fn how_long_a_change_takes_is_counted_when_the_proxy_has_it() {
    let running = Running::start(Mesh::bookinfo().snapshot(), Some(PeerIdentity::Trusted)).await;
    let mut proxy = Proxy::connect(&running).await.unwrap();
    proxy.warm_up().await;
    assert_eq!(running.metric("pilot_xds{version=\"unknown\"}"), 1.0);
    assert_eq!(running.metric("pilot_proxy_convergence_time_count"), 0.0);
    for of_type in ["cds", "eds", "lds", "rds"] {
        let made = format!("pilot_xds_push_time_count{{type=\"{of_type}\"}}");
        let sent = format!("pilot_xds_pushes{{type=\"{of_type}\"}}");
        assert!(running.metric(&made) >= 1.0, "{made}");
        assert_eq!(running.metric(&made), running.metric(&sent));
    }
    assert!(running.metric("pilot_proxy_queue_time_count") >= 4.0);

    let object = virtual_service(
        "reviews",
        REVIEWS,
        None,
        vec![rule(vec![], to(REVIEWS, &[("v1", 0)]))],
    );
    let changes = Changes {
        objects: [object.meta.key.clone()].into(),
        ..Default::default()
    };
    running.publish(changes, |mesh| mesh.add_virtual_service(object));
    // The response is acknowledged; the answer to what is asked then shows that this was read.
    proxy.next().await.unwrap();
    proxy.client.subscribe(ResourceType::Route, "other");
    for request in proxy.client.pending() {
        proxy.requests.send(request).await.unwrap();
    }
    let counted = async {
        while running.metric("pilot_proxy_convergence_time_count") < 1.0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, counted).await.unwrap();
    drop(proxy);
    let left = async {
        while !running.registry.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, left).await.unwrap();
    assert_eq!(running.metric("pilot_xds{version=\"unknown\"}"), 0.0);
    assert_eq!(running.metric("pilot_proxy_convergence_time_count"), 1.0);
}

#[tokio::test]
async fn a_changed_rule_touches_its_routes_alone() {
    let running = Running::start(Mesh::bookinfo().snapshot(), Some(PeerIdentity::Trusted)).await;
    let mut proxy = Proxy::connect(&running).await.unwrap();
    proxy.warm_up().await;

    let object = virtual_service(
        "reviews",
        REVIEWS,
        None,
        vec![rule(vec![], to(REVIEWS, &[("v1", 0)]))],
    );
    let changes = Changes {
        objects: [object.meta.key.clone()].into(),
        ..Default::default()
    };
    running.publish(changes, |mesh| mesh.add_virtual_service(object));
    let expected = (ResourceType::Route, vec!["9080".to_owned()]);
    assert_eq!(proxy.next().await.unwrap(), expected);
}

#[tokio::test]
async fn subsets_come_before_the_routes_that_name_them() {
    let running = Running::start(Mesh::bookinfo().snapshot(), Some(PeerIdentity::Trusted)).await;
    let mut proxy = Proxy::connect(&running).await.unwrap();
    proxy.warm_up().await;

    let object = virtual_service(
        "reviews",
        REVIEWS,
        None,
        vec![rule(vec![], to(REVIEWS, &[("v1", 0)]))],
    );
    let policy = destination_rule("reviews", REVIEWS, Default::default());
    let objects = [object.meta.key.clone(), policy.meta.key.clone()].into();
    running.publish(
        Changes {
            objects,
            ..Default::default()
        },
        |mesh| {
            mesh.add_virtual_service(object);
            mesh.add_destination_rule(policy);
        },
    );
    let order = [proxy.next().await.unwrap().0, proxy.next().await.unwrap().0];
    assert_eq!(order, [ResourceType::Cluster, ResourceType::Route]);
}

#[tokio::test]
async fn a_refusal_is_shown_to_people() {
    let running = Running::start(Mesh::bookinfo().snapshot(), Some(PeerIdentity::Trusted)).await;
    let mut proxy = Proxy::connect(&running).await.unwrap();
    let refusal = [("BlackHoleCluster".to_owned(), "told to".to_owned())];
    let (resource_type, _) = proxy.next_refusing(&refusal).await.unwrap();
    assert_eq!(resource_type, ResourceType::Cluster);
    // The answer to a later request shows that the refusal was read.
    proxy.client.subscribe(ResourceType::Route, "9080");
    for request in proxy.client.pending() {
        proxy.requests.send(request).await.unwrap();
    }
    while proxy.next().await.unwrap().0 != ResourceType::Route {}

    let status = running.registry.status().remove(0);
    assert_eq!(status.proxy, "productpage-v1-abc.default");
    assert_eq!(status.types["CDS"].status, "ERROR");
    assert_eq!(
        status.types["CDS"].nack.as_deref(),
        Some("BlackHoleCluster: told to")
    );
}

#[tokio::test]
async fn a_stranger_is_turned_away() {
    let stranger = PeerIdentity::Presented {
        certificate: Some(account("other", "default")),
        token: None,
    };
    let running = Running::start(Mesh::bookinfo().snapshot(), Some(stranger)).await;
    let error = match Proxy::connect(&running).await {
        Ok(mut proxy) => proxy.next().await.unwrap_err(),
        Err(error) => error,
    };
    assert_eq!(error.code(), tonic::Code::Unauthenticated);
    assert!(running.registry.is_empty());
    let refused = running.refusals.recent(SystemTime::now());
    let (caller, refusal) = refused.first_key_value().unwrap();
    assert!(caller.is_loopback());
    assert_eq!(
        refusal.reason,
        "\"spiffe://cluster.local/ns/other/sa/default\" may not ask as namespace \"default\", \
         service account \"default\""
    );
}
