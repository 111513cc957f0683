//! What a proxy is served, and to whom it is not.

use std::collections::BTreeSet;
use std::fs;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Request, Status, Streaming};
use xds::envoy::core;
use xds::envoy::discovery::DeltaDiscoveryRequest;
use xds::proto::ads::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use xds::resource::DeltaDiscoveryResponse;

use crate::support::{ControlPlane, TokenIssuer, bearer};

pub(crate) const MESH: &str = r#"
apiVersion: v1
kind: Namespace
metadata:
  name: shop
---
apiVersion: v1
kind: Service
metadata:
  name: cart
  namespace: shop
spec:
  clusterIP: 10.96.0.10
  selector:
    app: cart
  ports:
  - name: http
    port: 80
    targetPort: 8080
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: cart-1
  namespace: shop
  labels:
    kubernetes.io/service-name: cart
addressType: IPv4
ports:
- name: http
  port: 8080
  protocol: TCP
endpoints:
- addresses: ["10.244.0.5"]
  conditions:
    ready: true
"#;

const CLUSTER: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
pub(crate) const CART: &str = "outbound|80||cart.shop.svc.cluster.local";

fn node(namespace: &str) -> core::Node {
    core::Node {
        id: format!("sidecar~10.244.0.9~client.{namespace}~{namespace}.svc.cluster.local"),
        ..core::Node::default()
    }
}

/// A proxy's discovery stream.
pub(crate) struct Stream {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    answers: Streaming<DeltaDiscoveryResponse>,
}

impl Stream {
    /// Opens a stream and asks for all clusters.
    pub(crate) async fn open(
        channel: Channel,
        namespace: &str,
        token: Option<&str>,
    ) -> Result<Self, Status> {
        let (requests, receiver) = mpsc::channel(4);
        let first = DeltaDiscoveryRequest {
            node: Some(node(namespace)),
            type_url: CLUSTER.to_owned(),
            ..Default::default()
        };
        requests.send(first).await.unwrap();
        let mut request = Request::new(ReceiverStream::new(receiver));
        if let Some(token) = token {
            request
                .metadata_mut()
                .insert("authorization", bearer(token));
        }
        let mut client = AggregatedDiscoveryServiceClient::new(channel);
        let answers = client
            .delta_aggregated_resources(request)
            .await?
            .into_inner();
        Ok(Self { requests, answers })
    }

    /// The names in the next answer, which is acknowledged.
    pub(crate) async fn next(&mut self) -> Result<BTreeSet<String>, Status> {
        let answer = self.answers.message().await?.expect("an answer");
        let acknowledge = DeltaDiscoveryRequest {
            type_url: answer.type_url,
            response_nonce: answer.nonce,
            ..Default::default()
        };
        self.requests.send(acknowledge).await.unwrap();
        let names = answer.resources.into_iter().map(|resource| resource.name);
        Ok(names.collect())
    }
}

/// Why a stream is refused, be it at once or with its first answer.
async fn refusal(channel: Channel, namespace: &str, token: Option<&str>) -> (Code, String) {
    let status = match Stream::open(channel, namespace, token).await {
        Ok(mut stream) => stream.next().await.unwrap_err(),
        Err(status) => status,
    };
    (status.code(), status.message().to_owned())
}

#[tokio::test]
async fn a_proxy_with_a_certificate_is_served_and_follows_changes() {
    let meshd = ControlPlane::start(MESH).await;
    let token = meshd.tokens.token("shop", "default");
    let workload = meshd.certificate(&token).await.unwrap();
    let channel = meshd.connect(Some(&workload)).await;
    let mut stream = Stream::open(channel, "shop", None).await.unwrap();
    let names = stream.next().await.unwrap();
    assert!(names.contains(CART), "{names:?}");

    let config = meshd.directory.path().join("config/more.yaml");
    let more = MESH.split("---").nth(1).unwrap();
    fs::write(
        config,
        more.replace("cart", "till")
            .replace("10.96.0.10", "10.96.0.11"),
    )
    .unwrap();
    let names = stream.next().await.unwrap();
    assert_eq!(
        names,
        BTreeSet::from(["outbound|80||till.shop.svc.cluster.local".to_owned()]),
        "a change is sent alone"
    );
    meshd.stop().await;
    let end = stream.answers.message().await.unwrap();
    assert_eq!(end, None, "the stream ends in order");
}

#[tokio::test]
async fn a_token_serves_where_there_is_no_certificate_yet() {
    let meshd = ControlPlane::start(MESH).await;
    let token = meshd.tokens.token("shop", "default");
    let channel = meshd.connect(None).await;
    let mut stream = Stream::open(channel, "shop", Some(&token)).await.unwrap();
    assert!(stream.next().await.unwrap().contains(CART));
    meshd.stop().await;
}

#[tokio::test]
async fn strangers_and_pretenders_are_refused() {
    let meshd = ControlPlane::start(MESH).await;
    let channel = meshd.connect(None).await;
    let (code, reason) = refusal(channel.clone(), "shop", None).await;
    assert_eq!(code, Code::Unauthenticated, "{reason}");

    let foreign = TokenIssuer::new().token("shop", "default");
    let (code, reason) = refusal(channel, "shop", Some(&foreign)).await;
    assert_eq!(code, Code::Unauthenticated);
    assert!(
        reason.contains("the token's signature does not verify"),
        "{reason}"
    );

    let token = meshd.tokens.token("shop", "default");
    let workload = meshd.certificate(&token).await.unwrap();
    let channel = meshd.connect(Some(&workload)).await;
    let (_, reason) = refusal(channel, "kube-system", None).await;
    assert!(
        reason.contains("spiffe://cluster.local/ns/shop/sa/default")
            && reason.contains("kube-system"),
        "{reason}"
    );
    meshd.stop().await;
}

#[tokio::test]
async fn the_plaintext_port_believes_its_peers() {
    let meshd = ControlPlane::start(MESH).await;
    let address = format!("http://{}", meshd.addresses.plaintext);
    let channel = Channel::from_shared(address)
        .unwrap()
        .connect()
        .await
        .unwrap();
    let mut stream = Stream::open(channel, "shop", None).await.unwrap();
    assert!(stream.next().await.unwrap().contains(CART));
    meshd.stop().await;
}

#[tokio::test]
async fn an_identity_sees_the_proxies_of_its_own_namespace() {
    let meshd = ControlPlane::start(MESH).await;
    let mut streams = Vec::new();
    for namespace in ["shop", "office"] {
        let token = meshd.tokens.token(namespace, "default");
        let channel = meshd.connect(None).await;
        let mut stream = Stream::open(channel, namespace, Some(&token))
            .await
            .unwrap();
        stream.next().await.unwrap();
        streams.push(stream);
    }
    let ask = async |namespace: &str, page: &str| {
        let token = format!("Bearer {}", meshd.tokens.token(namespace, "anybody"));
        let headers = [("authorization", token.as_str())];
        meshd.get_from_elsewhere(page, &headers).await
    };
    let seen = async |namespace: &str| {
        let (status, page) = ask(namespace, "/debug/syncz").await;
        assert_eq!(status, 200, "{page}");
        let proxies: Vec<serde_json::Value> = serde_json::from_str(&page).unwrap();
        let names = proxies.iter().map(|one| one["proxy"].as_str().unwrap());
        names.map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(seen("shop").await, set(&["client.shop"]));
    assert_eq!(seen("office").await, set(&["client.office"]));
    assert_eq!(seen("elsewhere").await, set(&[]));
    let all = set(&["client.office", "client.shop"]);
    assert_eq!(seen("istio-system").await, all);

    // Both proxies claim one address: each namespace finds its own by it, and nobody finds another's.
    for (namespace, proxy, status) in [
        ("shop", "client.shop", 200),
        ("shop", "client.office", 404),
        (
            "shop",
            "sidecar~10.244.0.9~client.office~office.svc.cluster.local",
            404,
        ),
        ("shop", "10.244.0.9", 200),
        ("elsewhere", "10.244.0.9", 404),
        ("istio-system", "client.office", 200),
    ] {
        let page = format!("/debug/config_dump?proxy={proxy}");
        let (found, answer) = ask(namespace, &page).await;
        assert_eq!(found, status, "{namespace} {proxy}: {answer}");
        assert_eq!(answer.contains(CART), status == 200, "{namespace} {proxy}");
    }
    drop(streams);
    meshd.stop().await;
}
