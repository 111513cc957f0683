//! Galley over a cluster, whose API server is played here.

#[path = "kubernetes/exchange.rs"]
mod exchange;
#[path = "kubernetes/server.rs"]
mod server;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use galley::source::kube::{KubeOptions, KubeSource};
use galley::status::StatusWriter;
use galley::{Galley, StartError};
use mesh_api::mesh_config::{MeshConfig, OutboundPolicy};
use mesh_api::snapshot::Snapshot;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use self::server::Server;

const PATIENCE: Duration = Duration::from_secs(20);

struct Running {
    server: Server,
    galley: Galley,
    shutdown: CancellationToken,
}

async fn start(server: Server) -> Running {
    let shutdown = CancellationToken::new();
    let source = KubeSource::new(server.client(), KubeOptions::default());
    let mut registry = Registry::default();
    let galley = Galley::start_in_cluster(
        source,
        MeshConfig::default(),
        &mut registry,
        shutdown.clone(),
    );
    let galley = timeout(PATIENCE, galley).await.expect("galley starts");
    Running {
        server,
        galley: galley.unwrap(),
        shutdown,
    }
}

impl Running {
    async fn until(&mut self, condition: impl Fn(&Snapshot) -> bool) -> Arc<Snapshot> {
        let wait = self
            .galley
            .snapshots
            .wait_for(|snapshot| condition(snapshot));
        let snapshot = timeout(PATIENCE, wait).await.expect("the snapshot comes");
        snapshot.unwrap().clone()
    }

    /// Writes statuses until the end, while it leads; whether it does is the sender's to say.
    fn write_status(
        &self,
        leads: bool,
    ) -> (watch::Sender<bool>, JoinHandle<Result<(), Infallible>>) {
        let (lead, leader) = watch::channel(leads);
        let reports = self.galley.reports.clone();
        let writer = StatusWriter::new(self.server.client(), reports, leader, "istiod-1".into());
        (lead, tokio::spawn(writer.run(self.shutdown.clone())))
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.galley.task.await.unwrap();
    }
}

fn service(port: u16) -> Value {
    json!({
        "metadata": {"name": "reviews", "namespace": "shop"},
        "spec": {
            "clusterIP": "10.96.0.7",
            "selector": {"app": "reviews"},
            "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
            "fieldOfALaterKubernetes": {"deep": true},
        },
    })
}

fn rule(spec: Value) -> Value {
    json!({"metadata": {"name": "reviews", "namespace": "shop"}, "spec": spec})
}

fn good_rule() -> Value {
    rule(json!({
        "hosts": ["reviews"],
        "http": [{"route": [{"destination": {"host": "reviews"}}]}],
    }))
}

fn bad_rule() -> Value {
    rule(json!({"hosts": ["reviews"], "http": [{"rewrite": 7}]}))
}

/// A service with one pod on a labelled node, and a rule.
fn cluster() -> Server {
    let server = Server::new();
    server.install("virtualservices", "networking.istio.io", &["v1beta1", "v1"]);
    server.put("services", service(9080));
    server.put("virtualservices", good_rule());
    server.put(
        "nodes",
        json!({"metadata": {"name": "n1", "labels": {
            "topology.kubernetes.io/region": "r1",
            "topology.kubernetes.io/zone": "z1",
        }}}),
    );
    server.put(
        "pods",
        json!({
            "metadata": {"name": "reviews-1", "namespace": "shop", "labels": {"app": "reviews"}},
            "spec": {"nodeName": "n1", "serviceAccountName": "bookinfo", "containers": [{"name": "c"}]},
            "status": {
                "phase": "Running",
                "podIP": "10.1.0.9",
                "conditions": [{"type": "Ready", "status": "True", "lastProbeTime": null}],
            },
        }),
    );
    server.put(
        "endpointslices",
        json!({
            "metadata": {
                "name": "reviews-x",
                "namespace": "shop",
                "labels": {"kubernetes.io/service-name": "reviews"},
            },
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": 9080}],
            "endpoints": [{
                "addresses": ["10.1.0.9"],
                "nodeName": "n1",
                "targetRef": {"kind": "Pod", "name": "reviews-1"},
            }],
        }),
    );
    server
}

#[tokio::test]
async fn the_first_snapshot_is_complete() {
    let running = start(cluster()).await;
    let snapshot = running.galley.snapshots.borrow().clone();
    assert_eq!(snapshot.version, 1);
    let (key, endpoints) = snapshot.endpoints.first_key_value().unwrap();
    assert_eq!(key.hostname.as_str(), "reviews.shop.svc.cluster.local");
    let endpoint = &endpoints.by_port[&9080][0];
    assert_eq!(endpoint.locality.to_string(), "r1/z1");
    assert_eq!(
        endpoint.identity.as_ref().unwrap().to_string(),
        "spiffe://cluster.local/ns/shop/sa/bookinfo"
    );
    let rules = Snapshot::of_namespace(&snapshot.virtual_services, "shop");
    assert_eq!(rules.len(), 1);
    assert!(running.galley.diagnostics.borrow().is_empty());
    running.stop().await;
}

#[tokio::test]
async fn nothing_is_published_before_everything_was_read() {
    let server = cluster();
    server.hold("pods");
    let shutdown = CancellationToken::new();
    let source = KubeSource::new(server.client(), KubeOptions::default());
    let mut registry = Registry::default();
    let starting = Galley::start_in_cluster(
        source,
        MeshConfig::default(),
        &mut registry,
        shutdown.clone(),
    );
    let stop = async {
        server.asked("pods").await;
        shutdown.cancel();
    };
    let (started, ()) = timeout(PATIENCE, async { tokio::join!(starting, stop) })
        .await
        .unwrap();
    assert!(matches!(started, Err(StartError::Stopped)));
}

#[tokio::test]
async fn an_undecodable_object_blinds_nothing() {
    let mut running = start(cluster()).await;
    running.server.put("virtualservices", bad_rule());
    let mut diagnostics = running.galley.diagnostics.clone();
    let found = diagnostics.wait_for(|all| !all.is_empty());
    let found = timeout(PATIENCE, found).await.unwrap().unwrap().clone();
    let shown = found.iter().next().unwrap().to_string();
    assert!(
        shown.contains("VirtualService shop/reviews spec.http[0].rewrite"),
        "{shown}"
    );
    assert!(
        shown.contains("the last good version stays in force"),
        "{shown}"
    );
    let mut other = good_rule();
    other["metadata"]["name"] = json!("other");
    running.server.put("virtualservices", other);
    let names = |snapshot: &Snapshot| -> BTreeSet<String> {
        let rules = Snapshot::of_namespace(&snapshot.virtual_services, "shop");
        rules
            .iter()
            .map(|rule| rule.meta.name().to_owned())
            .collect()
    };
    running
        .until(|snapshot| names(snapshot) == BTreeSet::from(["other".into(), "reviews".into()]))
        .await;
    running.stop().await;
}

#[tokio::test]
async fn after_a_disconnect_only_differences_are_published() {
    let mut running = start(cluster()).await;
    let before = running.galley.snapshots.borrow().version;
    // Lists again without a change, then with one: the next snapshot is the first
    // since, and holds that change alone.
    running.server.expire();
    running.server.listed_again().await;
    running.server.disconnect();
    running.server.put("services", service(9081));
    running.server.expire();
    let after = running
        .until(|snapshot| {
            snapshot
                .services
                .values()
                .any(|service| service.port(9081).is_some())
        })
        .await;
    assert_eq!(after.version, before + 1);
    let changed: Vec<String> = after
        .changes
        .objects
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(changed, ["Service shop/reviews"]);
    assert!(!after.changes.full);
    running.stop().await;
}

#[tokio::test]
async fn a_kind_that_is_installed_later_is_picked_up() {
    let mut running = start(cluster()).await;
    let policy = json!({
        "metadata": {"name": "strict", "namespace": "shop"},
        "spec": {"mtls": {"mode": "STRICT"}},
    });
    running.server.put("peerauthentications", policy);
    running
        .server
        .install("peerauthentications", "security.istio.io", &["v1"]);
    running
        .until(|snapshot| !snapshot.peer_authentications.is_empty())
        .await;
    running
        .server
        .uninstall("peerauthentications", "security.istio.io");
    running
        .until(|snapshot| snapshot.peer_authentications.is_empty())
        .await;
    running.stop().await;
}

#[tokio::test]
async fn a_route_is_read_in_the_version_that_is_served() {
    const GROUP: &str = "gateway.networking.k8s.io";
    let mut running = start(cluster()).await;
    let route = json!({
        "metadata": {"name": "bytes", "namespace": "shop"},
        "spec": {
            "parentRefs": [{"group": "", "kind": "Service", "name": "reviews"}],
            "rules": [{"backendRefs": [{"name": "reviews", "port": 9080}]}],
        },
    });
    let (_lead, writing) = running.write_status(true);
    running.server.put("tcproutes", route);
    running
        .server
        .install("tcproutes", GROUP, &["v1alpha1", "v1alpha2"]);
    let carries_bytes = |snapshot: &Snapshot| {
        let mut objects = snapshot.virtual_services.values().flatten();
        objects.any(|object| !object.tcp.is_empty())
    };
    running.until(carries_bytes).await;
    running
        .server
        .status_holds("tcproutes", "bytes", "Accepted")
        .await;
    running.server.uninstall("tcproutes", GROUP);
    running.until(|snapshot| !carries_bytes(snapshot)).await;
    running.stop().await;
    writing.await.unwrap().unwrap();
}

#[tokio::test]
async fn mesh_settings_are_followed() {
    let mut running = start(cluster()).await;
    let map = |mesh: &str| {
        json!({
            "metadata": {"name": "istio", "namespace": "istio-system"},
            "data": {"mesh": mesh},
        })
    };
    let policy = "outboundTrafficPolicy: {mode: REGISTRY_ONLY}";
    running.server.put("configmaps", map(policy));
    running
        .until(|snapshot| snapshot.mesh.outbound_policy == OutboundPolicy::RegistryOnly)
        .await;
    running.stop().await;
}

#[tokio::test]
async fn a_server_that_cannot_stream_lists_is_asked_for_lists() {
    let server = cluster();
    server.refuse_streaming();
    let running = start(server).await;
    assert_eq!(running.galley.snapshots.borrow().services.len(), 1);
    running.stop().await;
}

#[tokio::test]
async fn the_leader_writes_status_once_and_announces_quarantine() {
    let running = start(cluster()).await;
    let (lead, writing) = running.write_status(false);
    lead.send_replace(true);
    let condition = |status: &Value| status["conditions"][0]["reason"].clone();
    let first = running.server.written("virtualservices", "reviews").await;
    assert_eq!(condition(&first), "Accepted");
    running.server.put("virtualservices", bad_rule());
    let second = running.server.written("virtualservices", "reviews").await;
    assert_eq!(condition(&second), "Quarantined");
    assert_eq!(second["observedGeneration"], 2);
    let event = running.server.event().await;
    assert_eq!(event["reason"], "Quarantined");
    assert_eq!(event["regarding"]["name"], "reviews");
    lead.send_replace(false);
    running.server.put("virtualservices", good_rule());
    assert_eq!(running.server.writes(), 2);
    running.stop().await;
    writing.await.unwrap().unwrap();
}

#[tokio::test]
async fn statuses_are_written_side_by_side_and_the_newest_first() {
    const MANY: usize = 200;
    let server = cluster();
    for number in 0..MANY {
        let mut rule = good_rule();
        rule["metadata"]["name"] = json!(format!("rule-{number}"));
        server.put("virtualservices", rule);
    }
    server.hold_statuses("virtualservices");
    let mut running = start(server).await;
    let (_lead, writing) = running.write_status(true);
    running.server.statuses_waiting(16).await;
    let mut rule = good_rule();
    rule["metadata"]["name"] = json!("newest");
    running.server.put("virtualservices", rule);
    let has_newest = |snapshot: &Snapshot| {
        let rules = &snapshot.virtual_services;
        rules.object("shop", "newest").is_some()
    };
    running.until(has_newest).await;
    // The reports that go with the snapshot before are out when the next one is.
    running.server.put("services", service(9081));
    let has_port = |snapshot: &Snapshot| {
        let mut services = snapshot.services.values();
        services.any(|service| service.port(9081).is_some())
    };
    running.until(has_port).await;
    let held = running.server.release_statuses();
    let written = running.server.all_written(MANY + 2).await;
    let place = written.iter().position(|name| name == "newest").unwrap();
    assert!(
        place <= held + 8,
        "{held} were held, then {:?}",
        &written[held..]
    );
    let names: BTreeSet<&String> = written.iter().collect();
    assert_eq!(names.len(), MANY + 2, "each is written once");
    running.stop().await;
    writing.await.unwrap().unwrap();
}

fn gateway() -> Value {
    json!({
        "metadata": {"name": "edge", "namespace": "shop", "annotations": {
            "networking.istio.io/service-type": "ClusterIP",
            "gateway.istio.io/service-account": "entrance",
            "kubectl.kubernetes.io/last-applied-configuration": "{}",
        }},
        "spec": {
            "gatewayClassName": "istio",
            "listeners": [{"name": "web", "port": 80, "protocol": "HTTP"}],
        },
    })
}

#[tokio::test]
async fn a_proxy_is_made_while_statuses_wait() {
    let server = cluster();
    for plural in ["gatewayclasses", "gateways"] {
        server.install(plural, "gateway.networking.k8s.io", &["v1"]);
    }
    for number in 0..100 {
        let mut rule = good_rule();
        rule["metadata"]["name"] = json!(format!("rule-{number}"));
        server.put("virtualservices", rule);
    }
    server.hold_statuses("virtualservices");
    let running = start(server).await;
    let (_lead, writing) = running.write_status(true);
    running.server.statuses_waiting(16).await;
    running.server.put("gateways", gateway());
    let deployment = running.server.object("deployments", "shop", "edge-istio");
    assert_eq!(deployment.await["kind"], "Deployment");
    assert_eq!(running.server.writes(), 0);
    running.stop().await;
    writing.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_gateway_gets_its_proxy_and_its_status() {
    let server = cluster();
    for plural in ["gatewayclasses", "gateways"] {
        server.install(plural, "gateway.networking.k8s.io", &["v1"]);
    }
    server.put("gateways", gateway());
    let running = start(server).await;
    let (_lead, writing) = running.write_status(true);
    let class = running.server.object("gatewayclasses", "", "istio").await;
    assert_eq!(
        class["spec"]["controllerName"],
        "istio.io/gateway-controller"
    );
    let service = running
        .server
        .object("services", "shop", "edge-istio")
        .await;
    assert_eq!(service["spec"]["type"], "ClusterIP");
    let ports = service["spec"]["ports"].as_array().unwrap();
    let numbers: Vec<_> = ports.iter().map(|port| port["port"].clone()).collect();
    assert_eq!(numbers, [15021, 80]);
    let deployment = running
        .server
        .object("deployments", "shop", "edge-istio")
        .await;
    let template = &deployment["spec"]["template"];
    assert_eq!(
        template["metadata"]["annotations"],
        json!({
            "networking.istio.io/service-type": "ClusterIP",
            "inject.istio.io/templates": "gateway",
        })
    );
    let pod = &template["spec"];
    assert_eq!(pod["serviceAccountName"], "entrance");
    assert_eq!(pod["containers"][0]["imagePullPolicy"], "IfNotPresent");
    running
        .server
        .object("serviceaccounts", "shop", "entrance")
        .await;
    assert_eq!(
        deployment["metadata"]["ownerReferences"][0]["uid"],
        "uid-edge"
    );
    // Programmed once the Service that was just made has been seen.
    running
        .server
        .status_holds("gateways", "edge", "Programmed")
        .await;
    running.stop().await;
    writing.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_gateway_class_of_somebody_else_stays() {
    let server = cluster();
    server.install("gatewayclasses", "gateway.networking.k8s.io", &["v1"]);
    server.put(
        "gatewayclasses",
        json!({
            "metadata": {"name": "istio"},
            "spec": {"controllerName": "example.com/other"},
        }),
    );
    let running = start(server).await;
    let (_lead, writing) = running.write_status(true);
    // Written after classes have been looked at.
    running.server.written("virtualservices", "reviews").await;
    let class = running.server.object("gatewayclasses", "", "istio").await;
    assert_eq!(class["spec"]["controllerName"], "example.com/other");
    running.stop().await;
    writing.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_gateway_class_that_may_not_be_made_keeps_nobody_from_its_status() {
    let server = cluster();
    server.install("gatewayclasses", "gateway.networking.k8s.io", &["v1"]);
    server.forbid("gatewayclasses");
    let running = start(server).await;
    let (_lead, writing) = running.write_status(true);
    running.server.written("virtualservices", "reviews").await;
    running.stop().await;
    writing.await.unwrap().unwrap();
}
