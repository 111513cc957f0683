//! Who gets which credentials over a real connection, whatever a proxy says about itself.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mesh_api::gateway::{ServerCertificate, ServerTlsMode, TrustedPods};
use mesh_api::identity::SpiffeId;
use mesh_api::port::Protocol;
use mesh_api::resource::ResourceKey;
use mesh_api::snapshot::diff::Changes;
use mesh_api::snapshot::{Credential, Snapshot};
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Server};
use tonic::{Request, Streaming, async_trait};
use xds::envoy::core;
use xds::envoy::discovery::DeltaDiscoveryRequest;
use xds::proto::ads::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use xds::resource::DeltaDiscoveryResponse;
use xds::structs;
use xds::type_url::ResourceType;

use super::fixture::*;
use crate::access::{ReviewError, Reviewer, Timing};
use crate::ads::authenticate::PeerIdentity;
use crate::ads::registry::Registry;
use crate::app::{Config, Pilot};

/// Longer than any answer takes; only a test that fails waits for it.
const PATIENCE: Duration = Duration::from_secs(10);

const GATEWAY: &str = "spiffe://cluster.local/ns/edge/sa/gateway";
const ORDINARY: &str = "spiffe://cluster.local/ns/edge/sa/default";
const EDGE_ACCOUNT: &str = "spiffe://cluster.local/ns/edge/sa/own-istio";
const GATEWAY_IP: &str = "10.244.9.1";
const ORDINARY_IP: &str = "10.244.9.2";
const OWN_IP: &str = "10.244.9.3";
const NOWHERE: &str = "192.0.2.1";

const SHOP: &str = "kubernetes://shop";
const SHOP_CA: &str = "kubernetes://shop-cacert";
const OWN: &str = "kubernetes://own";
const OWN_CA: &str = "kubernetes://own-cacert";
const FOREIGN: &str = "kubernetes-gateway://vault/granted";

/// Everything that anyone might ask for.
const ALL: [&str; 11] = [
    SHOP,
    SHOP_CA,
    OWN,
    OWN_CA,
    FOREIGN,
    "kubernetes://granted",
    "kubernetes://vault/granted",
    "kubernetes-gateway://edge/shop",
    "kubernetes-gateway://vault/other",
    "builtin://",
    "configmap://edge/shop",
];

/// Permits those who are listed, and counts.
#[derive(Debug, Default)]
struct Readers {
    permitted: Mutex<BTreeSet<(String, String)>>,
    /// No review ends before this is true.
    open: Mutex<Option<watch::Receiver<bool>>>,
    is_away: Mutex<bool>,
    reviews: AtomicUsize,
}

impl Readers {
    fn permit(&self, account: &str, namespace: &str) {
        let mut permitted = self.permitted.lock().unwrap();
        permitted.insert((account.to_owned(), namespace.to_owned()));
    }

    fn reviews(&self) -> usize {
        self.reviews.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Reviewer for Readers {
    async fn may_list_secrets(&self, who: &SpiffeId, namespace: &str) -> Result<bool, ReviewError> {
        self.reviews.fetch_add(1, Ordering::SeqCst);
        let open = self.open.lock().unwrap().clone();
        if let Some(mut open) = open {
            open.wait_for(|open| *open).await.unwrap();
        }
        if *self.is_away.lock().unwrap() {
            return Err(ReviewError("no connection".to_owned()));
        }
        let permitted = self.permitted.lock().unwrap();
        Ok(permitted.contains(&(who.to_string(), namespace.to_owned())))
    }
}

/// Discovery on a loopback port, which believes what requests say that was proven of them.
struct Running {
    snapshots: watch::Sender<Arc<Snapshot>>,
    readers: Arc<Readers>,
    registry: Registry,
    address: String,
    _stop: DropGuard,
}

impl Running {
    fn start(mesh: Mesh) -> Self {
        Self::with_timing(mesh, Timing::default())
    }

    /// Answers hold for a moment.
    fn restless(mesh: Mesh) -> Self {
        let fresh = Duration::from_millis(20);
        let timing = Timing {
            fresh,
            retry: fresh,
            ..Timing::default()
        };
        Self::with_timing(mesh, timing)
    }

    fn with_timing(mesh: Mesh, access: Timing) -> Self {
        let (snapshots, receiver) = watch::channel(mesh.snapshot());
        let readers = Arc::new(Readers::default());
        let config = Config {
            access,
            ..Config::default()
        };
        let pilot = Pilot::new(receiver, Arc::clone(&readers) as _, config).unwrap();
        let registry = pilot.registry().clone();
        let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = format!("http://{}", incoming.local_addr().unwrap());
        let service =
            tonic::service::interceptor::InterceptedService::new(pilot.ads_service(), identified);
        let stop = CancellationToken::new();
        tokio::spawn(
            Server::builder()
                .add_service(service)
                .serve_with_incoming(incoming),
        );
        tokio::spawn(pilot.run(stop.clone()));
        Self {
            snapshots,
            readers,
            registry,
            address,
            _stop: stop.drop_guard(),
        }
    }

    fn publish(&self, change: impl FnOnce(&mut Mesh)) {
        let mut mesh = Mesh {
            snapshot: Snapshot::clone(&self.snapshots.borrow()),
        };
        change(&mut mesh);
        mesh.snapshot.version += 1;
        mesh.snapshot.changes = Arc::new(Changes {
            full: true,
            ..Changes::default()
        });
        self.snapshots.send_replace(mesh.snapshot());
    }
}

fn identified(mut request: Request<()>) -> Result<Request<()>, tonic::Status> {
    let text = |name: &str| {
        let value = request.metadata().get(name);
        value.map(|value| value.to_str().unwrap().to_owned())
    };
    let identity = match text("proven") {
        Some(identity) => PeerIdentity::Presented {
            certificate: Some(identity.parse().unwrap()),
            token: None,
        },
        None => PeerIdentity::Trusted,
    };
    let from: IpAddr = text("from").unwrap().parse().unwrap();
    request.extensions_mut().insert(identity);
    request.extensions_mut().insert(SocketAddr::new(from, 4711));
    Ok(request)
}

/// What a proxy says about itself, and what is known about it.
struct Client<'a> {
    /// The proven identity.
    proven: Option<&'a str>,
    /// Where it connects from.
    from: &'a str,
    account: &'a str,
    claimed_ip: &'a str,
    claimed_labels: &'a [(&'a str, &'a str)],
}

const INGRESS: &[(&str, &str)] = &[("istio", "ingressgateway")];
const OWN_PODS: &[(&str, &str)] = &[("gateway.networking.k8s.io/gateway-name", "own")];

/// The gateway, as it is.
fn gateway_pod() -> Client<'static> {
    Client {
        proven: Some(GATEWAY),
        from: GATEWAY_IP,
        account: "gateway",
        claimed_ip: GATEWAY_IP,
        claimed_labels: INGRESS,
    }
}

/// A workload of another account that describes itself as the gateway.
fn pretender() -> Client<'static> {
    Client {
        proven: Some(ORDINARY),
        from: ORDINARY_IP,
        account: "default",
        ..gateway_pod()
    }
}

/// A pod of the Gateway API's Gateway "own".
fn own_pod() -> Client<'static> {
    Client {
        proven: Some(EDGE_ACCOUNT),
        from: OWN_IP,
        account: "own-istio",
        claimed_ip: OWN_IP,
        claimed_labels: OWN_PODS,
    }
}

struct Stream {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
}

impl Client<'_> {
    /// Opens a stream with a subscription to secrets.
    async fn ask(&self, running: &Running, names: &[&str]) -> Stream {
        self.open(running, ResourceType::Secret, names, BTreeMap::new())
            .await
    }

    async fn open(
        &self,
        running: &Running,
        resource_type: ResourceType,
        names: &[&str],
        has: BTreeMap<String, String>,
    ) -> Stream {
        let channel = Channel::from_shared(running.address.clone()).unwrap();
        let channel = channel.connect().await.unwrap();
        let (requests, receiver) = mpsc::channel(16);
        let labels: BTreeMap<_, _> = self.claimed_labels.iter().copied().collect();
        let metadata = json!({"LABELS": labels, "SERVICE_ACCOUNT": self.account});
        let first = DeltaDiscoveryRequest {
            node: Some(core::Node {
                id: format!("router~{}~pod.edge~edge.svc.cluster.local", self.claimed_ip),
                user_agent_name: "weft".into(),
                metadata: Some(structs::from_json(metadata.as_object().unwrap())),
                ..Default::default()
            }),
            type_url: resource_type.url().to_owned(),
            resource_names_subscribe: names.iter().map(ToString::to_string).collect(),
            initial_resource_versions: has.into_iter().collect(),
            ..Default::default()
        };
        requests.send(first).await.unwrap();
        let stream = futures_util::stream::unfold(receiver, |mut receiver| async {
            Some((receiver.recv().await?, receiver))
        });
        let mut request = Request::new(stream);
        let metadata = request.metadata_mut();
        metadata.insert("from", self.from.parse().unwrap());
        if let Some(proven) = self.proven {
            metadata.insert("proven", proven.parse().unwrap());
        }
        let mut service = AggregatedDiscoveryServiceClient::new(channel);
        let responses = service.delta_aggregated_resources(request).await.unwrap();
        Stream {
            requests,
            responses: responses.into_inner(),
        }
    }

    /// What is sent of everything that anyone might ask for.
    async fn gets(&self, running: &Running) -> Vec<String> {
        let by_name = self.ask(running, &ALL).await.next().await;
        let mut answered = by_name.clone();
        answered.0.extend(answered.1);
        answered.0.sort();
        let mut all = ALL.map(str::to_owned);
        all.sort();
        assert_eq!(answered.0, all, "every name is answered");
        let by_wildcard = self.ask(running, &["*"]).await.next().await;
        assert_eq!(by_wildcard, (by_name.0.clone(), Vec::new()), "by wildcard");
        by_name.0
    }
}

impl Stream {
    /// The names that the next response brings and takes, acknowledged.
    async fn next(&mut self) -> (Vec<String>, Vec<String>) {
        let response = tokio::time::timeout(PATIENCE, self.responses.message()).await;
        let response = response.expect("a response in time").unwrap().unwrap();
        let acknowledge = DeltaDiscoveryRequest {
            type_url: response.type_url,
            response_nonce: response.nonce,
            ..Default::default()
        };
        self.requests.send(acknowledge).await.unwrap();
        let mut changed: Vec<_> = response.resources.into_iter().map(|r| r.name).collect();
        changed.sort();
        (changed, response.removed_resources)
    }
}

/// A mesh with a chart's gateway, a Gateway of the Gateway API with pods of its own, an ordinary
/// pod beside them, and Secrets in two namespaces.
fn mesh() -> Mesh {
    let mut mesh = Mesh::bookinfo();
    for (ip, account, labels) in [
        (GATEWAY_IP, "gateway", INGRESS),
        (ORDINARY_IP, "default", &[("app", "ordinary")]),
        (OWN_IP, "own-istio", OWN_PODS),
    ] {
        add_pod(&mut mesh, ip, account, labels);
    }
    add_credential(&mut mesh, ("edge", "shop"), ("edge", "shop"));
    add_credential(&mut mesh, ("edge", "own"), ("edge", "own"));
    add_credential(&mut mesh, ("vault", "granted"), ("vault", "granted"));
    add_credential(&mut mesh, ("vault", "other"), ("vault", "other"));
    add_credential(&mut mesh, ("edge", FOREIGN), ("vault", "granted"));
    let tls = |name: &str, credentials: &[&str]| {
        let names = credentials.iter().map(|name| (*name).into()).collect();
        let mode = ServerTlsMode::Mutual(ServerCertificate::Credentials(names));
        gateway(name, vec![server(443, Protocol::Https, "*", Some(mode))])
    };
    mesh.add_gateway(tls("classic", &["shop"]));
    let mut own = tls("own", &["own", FOREIGN]);
    own.selector = mesh_api::labels::Selector::new(labels(OWN_PODS));
    own.pod_namespace = Some("edge".into());
    own.trusted_pods = Some(TrustedPods {
        namespace: "edge".into(),
        service_account: Some("own-istio".into()),
    });
    mesh.add_gateway(own);
    mesh
}

fn add_pod(mesh: &mut Mesh, ip: &str, account_name: &str, pod_labels: &[(&str, &str)]) {
    let mut pod = pod(ip, "edge", "pod", "v1");
    pod.identity = account("edge", account_name);
    pod.labels = labels(pod_labels);
    edit(&mut mesh.snapshot.workloads).insert(ip.parse().unwrap(), Arc::new(pod));
}

/// A Secret under the name that proxies of a namespace know it by.
fn add_credential(mesh: &mut Mesh, known: (&str, &str), secret: (&str, &str)) {
    let is_foreign = known != secret;
    let credential = Credential {
        key: ResourceKey::new("Secret", secret.0, secret.1),
        certificate_chain: Some("certificate".into()),
        private_key: Some("key".into()),
        ca_certificates: (!is_foreign).then(|| "authority".into()),
        crl: None,
    };
    let key = (known.0.into(), known.1.into());
    edit(&mut mesh.snapshot.credentials).insert(key, Arc::new(credential));
}

#[tokio::test]
async fn a_gateway_gets_the_credentials_that_it_may_list() {
    let running = Running::start(mesh());
    running.readers.permit(GATEWAY, "edge");
    assert_eq!(
        gateway_pod().gets(&running).await,
        [OWN, OWN_CA, SHOP, SHOP_CA]
    );
    assert_eq!(
        running.readers.reviews(),
        2,
        "one for each namespace of what is asked for, shared by streams"
    );
    let anywhere = Client {
        from: NOWHERE,
        claimed_ip: NOWHERE,
        ..gateway_pod()
    };
    assert_eq!(anywhere.gets(&running).await, [OWN, OWN_CA, SHOP, SHOP_CA]);
}

#[tokio::test]
async fn a_workload_that_describes_itself_as_the_gateway_gets_none() {
    let running = Running::start(mesh());
    running.readers.permit(GATEWAY, "edge");
    running.readers.permit(EDGE_ACCOUNT, "edge");
    let claims = [
        ("where it is", ORDINARY_IP, GATEWAY_IP, INGRESS),
        ("from nowhere", NOWHERE, GATEWAY_IP, INGRESS),
        ("from nowhere, of nowhere", NOWHERE, NOWHERE, INGRESS),
        ("as another gateway", ORDINARY_IP, OWN_IP, OWN_PODS),
        ("as another from nowhere", NOWHERE, OWN_IP, OWN_PODS),
        ("as another of nowhere", NOWHERE, NOWHERE, OWN_PODS),
        ("by another address", OWN_IP, OWN_IP, OWN_PODS),
    ];
    for (how, from, claimed_ip, claimed_labels) in claims {
        let pretender = Client {
            from,
            claimed_ip,
            claimed_labels,
            ..pretender()
        };
        let nothing: [&str; 0] = [];
        assert_eq!(pretender.gets(&running).await, nothing, "{how}");
    }
}

#[tokio::test]
async fn a_node_that_is_merely_believed_gets_none() {
    let running = Running::start(mesh());
    running.readers.permit(GATEWAY, "edge");
    for pod in [gateway_pod(), own_pod()] {
        let believed = Client {
            proven: None,
            ..pod
        };
        let nothing: [&str; 0] = [];
        assert_eq!(believed.gets(&running).await, nothing);
    }
    assert_eq!(running.readers.reviews(), 0);
}

#[tokio::test]
async fn a_gateway_of_the_gateway_api_gets_what_it_refers_to_without_review() {
    let running = Running::start(mesh());
    let mut stream = own_pod().ask(&running, &[OWN, FOREIGN]).await;
    let both = vec![FOREIGN.to_owned(), OWN.to_owned()];
    assert_eq!(stream.next().await, (both, Vec::new()));
    assert_eq!(running.readers.reviews(), 0);
    assert_eq!(own_pod().gets(&running).await, [FOREIGN, OWN]);
}

#[tokio::test]
async fn only_the_pods_of_its_account_are_its_own() {
    let mut mesh = mesh();
    // Labels alone are anybody's who may create a pod.
    add_pod(&mut mesh, ORDINARY_IP, "default", OWN_PODS);
    let running = Running::start(mesh);
    let labelled = Client {
        claimed_ip: ORDINARY_IP,
        claimed_labels: OWN_PODS,
        ..pretender()
    };
    let nothing: [&str; 0] = [];
    assert_eq!(labelled.gets(&running).await, nothing);
    let other = Running::start(Mesh {
        snapshot: Snapshot::clone(&running.snapshots.borrow()),
    });
    other.readers.permit(ORDINARY, "edge");
    assert_eq!(labelled.gets(&other).await, [OWN, OWN_CA, SHOP, SHOP_CA]);
    // What a Gateway refers to elsewhere is for those who may read it there.
    other.readers.permit(GATEWAY, "vault");
    assert_eq!(gateway_pod().gets(&other).await, [FOREIGN]);
}

#[tokio::test]
async fn pods_of_another_namespace_than_the_gateways_are_not_its_own() {
    let mut mesh = mesh();
    let gateways = edit(&mut mesh.snapshot.gateways);
    let all: Vec<_> = gateways.values().flatten().cloned().collect();
    for mut gateway in all {
        if let Some(pods) = &mut Arc::make_mut(&mut gateway).trusted_pods {
            pods.namespace = "vault".into();
            pods.service_account = None;
        }
        gateways.insert(gateway);
    }
    let running = Running::start(mesh);
    let nothing: [&str; 0] = [];
    assert_eq!(own_pod().gets(&running).await, nothing);
}

#[tokio::test]
async fn a_permission_has_its_effect_on_streams_that_are_open() {
    let running = Running::restless(mesh());
    let mut stream = gateway_pod().ask(&running, &[SHOP]).await;
    let only = || vec![SHOP.to_owned()];
    assert_eq!(stream.next().await, (Vec::new(), only()), "not permitted");
    let warnings = running.registry.status().remove(0).warnings;
    assert_eq!(warnings.len(), 1);
    assert!(
        warnings[0].contains("--serviceaccount=edge:gateway"),
        "{warnings:?}"
    );

    running.readers.permit(GATEWAY, "edge");
    assert_eq!(stream.next().await, (only(), Vec::new()), "permitted");
    running.readers.permitted.lock().unwrap().clear();
    assert_eq!(stream.next().await, (Vec::new(), only()), "withdrawn");
}

#[tokio::test]
async fn where_nobody_decides_nothing_is_sent() {
    let running = Running::start(mesh());
    running.readers.permit(GATEWAY, "edge");
    *running.readers.is_away.lock().unwrap() = true;
    let nothing: [&str; 0] = [];
    assert_eq!(gateway_pod().gets(&running).await, nothing);
}

#[tokio::test]
async fn what_a_gateway_has_is_not_taken_away_before_it_is_decided() {
    let running = Running::start(mesh());
    running.readers.permit(GATEWAY, "edge");
    let (open, gate) = watch::channel(false);
    *running.readers.open.lock().unwrap() = Some(gate);
    let has = BTreeMap::from([(SHOP.to_owned(), "of another replica".to_owned())]);
    let mut stream = gateway_pod()
        .open(&running, ResourceType::Secret, &[SHOP], has)
        .await;
    while running.readers.reviews() == 0 {
        tokio::task::yield_now().await;
    }
    // Other types are answered meanwhile.
    let clusters = DeltaDiscoveryRequest {
        type_url: ResourceType::Cluster.url().to_owned(),
        ..Default::default()
    };
    stream.requests.send(clusters).await.unwrap();
    let (clusters, _) = stream.next().await;
    assert!(clusters.contains(&"BlackHoleCluster".to_owned()));
    open.send_replace(true);
    assert_eq!(stream.next().await, (vec![SHOP.to_owned()], Vec::new()));
}

#[tokio::test]
async fn a_gateway_without_credentials_needs_no_review() {
    let running = Running::start(mesh());
    for (resource_type, names) in [
        (ResourceType::Listener, &[][..]),
        (ResourceType::Secret, &["kubernetes://missing"]),
    ] {
        let mut stream = gateway_pod()
            .open(&running, resource_type, names, BTreeMap::new())
            .await;
        stream.next().await;
    }
    assert_eq!(running.readers.reviews(), 0);
}

#[tokio::test]
async fn labels_are_those_of_the_pod_where_it_is_known() {
    let running = Running::start(mesh());
    let listeners = async |client: Client<'_>| {
        let mut stream = client
            .open(&running, ResourceType::Listener, &[], BTreeMap::new())
            .await;
        stream.next().await.0
    };
    let nothing: [&str; 0] = [];
    assert_eq!(listeners(gateway_pod()).await, ["0.0.0.0_443"]);
    assert_eq!(listeners(pretender()).await, nothing);
    let unlabelled = Client {
        claimed_labels: &[],
        ..gateway_pod()
    };
    assert_eq!(listeners(unlabelled).await, ["0.0.0.0_443"]);
    // Of a machine, or of a pod that is not known yet, there is nothing but the claim.
    let unknown = Client {
        from: NOWHERE,
        claimed_ip: NOWHERE,
        ..gateway_pod()
    };
    assert_eq!(listeners(unknown).await, ["0.0.0.0_443"]);
}

#[tokio::test]
async fn a_pod_that_becomes_known_gets_what_is_its_own() {
    let mut young = mesh();
    edit(&mut young.snapshot.workloads).remove(&OWN_IP.parse().unwrap());
    let running = Running::start(young);
    let mut stream = own_pod().ask(&running, &[OWN]).await;
    let only = || vec![OWN.to_owned()];
    assert_eq!(stream.next().await, (Vec::new(), only()));
    running.publish(|mesh| add_pod(mesh, OWN_IP, "own-istio", OWN_PODS));
    assert_eq!(stream.next().await, (only(), Vec::new()));
}
