//! Certificates of Secrets go to the gateway that roles among the manifests permit to list them, and to nobody who
//! only says so.

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Streaming};
use xds::envoy::core;
use xds::envoy::discovery::DeltaDiscoveryRequest;
use xds::proto::ads::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use xds::resource::DeltaDiscoveryResponse;
use xds::structs;

use crate::support::ControlPlane;

const MESH: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: edge}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: shop, namespace: edge}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 443, name: https, protocol: HTTPS}
    tls: {mode: SIMPLE, credentialName: shop}
    hosts: ['*']
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: gateway, namespace: edge}
rules:
- {apiGroups: [''], resources: [secrets], verbs: [get, watch, list]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: gateway, namespace: edge}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: gateway}
subjects:
- {kind: ServiceAccount, name: gateway, namespace: edge}
"#;

const SECRET: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
const SHOP: &str = "kubernetes://shop";

/// A Secret with a fresh certificate, and its key.
fn secret() -> (String, String) {
    let pair = rcgen::generate_simple_self_signed(["shop.test".to_owned()]).unwrap();
    let key = pair.signing_key.serialize_pem();
    let manifest = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "shop", "namespace": "edge"},
        "stringData": {"tls.crt": pair.cert.pem(), "tls.key": key},
    });
    (manifest.to_string(), key)
}

/// The discovery stream of a pod of `account` that describes itself as the gateway.
async fn ask(
    meshd: &ControlPlane,
    account: &str,
) -> (
    mpsc::Sender<DeltaDiscoveryRequest>,
    Streaming<DeltaDiscoveryResponse>,
) {
    let token = meshd.tokens.token("edge", account);
    let workload = meshd.certificate(&token).await.unwrap();
    let channel = meshd.connect(Some(&workload)).await;
    let metadata = serde_json::json!({
        "SERVICE_ACCOUNT": account,
        "LABELS": {"istio": "ingressgateway"},
    });
    let (requests, receiver) = mpsc::channel(4);
    let first = DeltaDiscoveryRequest {
        node: Some(core::Node {
            id: "router~10.244.0.9~gateway.edge~edge.svc.cluster.local".to_owned(),
            metadata: Some(structs::from_json(metadata.as_object().unwrap())),
            ..core::Node::default()
        }),
        type_url: SECRET.to_owned(),
        resource_names_subscribe: vec![SHOP.to_owned()],
        ..Default::default()
    };
    requests.send(first).await.unwrap();
    let mut client = AggregatedDiscoveryServiceClient::new(channel);
    let request = Request::new(ReceiverStream::new(receiver));
    let answers = client.delta_aggregated_resources(request).await.unwrap();
    (requests, answers.into_inner())
}

#[tokio::test]
async fn a_role_opens_a_certificate_and_a_claim_does_not() {
    let (secret, key) = secret();
    let meshd = ControlPlane::start(&format!("{MESH}---\n{secret}\n")).await;

    let (_requests, mut gateway) = ask(&meshd, "gateway").await;
    let answer = gateway.message().await.unwrap().unwrap();
    let body = answer.resources[0].resource.as_ref().unwrap();
    assert_eq!(answer.resources[0].name, SHOP);
    assert!(holds(&body.value, &key));

    let (_requests, mut pretender) = ask(&meshd, "default").await;
    let answer = pretender.message().await.unwrap().unwrap();
    assert_eq!(answer.resources, []);
    assert_eq!(answer.removed_resources, [SHOP]);

    // Pages for people show neither's key, and say what the second lacks.
    let pages = [
        "/debug/config_dump?proxy=gateway.edge",
        "/debug/syncz",
        "/debug/registryz",
        "/debug/endpointz",
        "/debug/connections",
        "/debug/diagnostics",
        "/metrics",
    ];
    for page in pages {
        let (status, text) = meshd.get(page).await;
        assert_eq!(status, 200, "{page}: {text}");
        assert!(!text.contains("PRIVATE KEY"), "{page}");
    }
    let (_, status) = meshd.get("/debug/syncz").await;
    assert!(status.contains("--serviceaccount=edge:default"), "{status}");
    drop((gateway, pretender));
    meshd.stop().await;
}

fn holds(body: &[u8], text: &str) -> bool {
    body.windows(text.len()).any(|part| part == text.as_bytes())
}
