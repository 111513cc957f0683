//! The HTTP ports: metrics, readiness, webhooks.

use std::io;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Method, Request};
use http_body_util::Full;
use json_patch::Patch;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::support::{ControlPlane, exchange};

/// Posts to the webhooks as the API server does: verifying the name of the Service.
async fn post(meshd: &ControlPlane, path: &str, body: &Value) -> io::Result<(u16, String)> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(meshd.roots().as_bytes()) {
        roots.add(root.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("istiod.istio-system.svc").unwrap();
    let stream = TcpStream::connect(meshd.addresses.webhook).await?;
    let stream = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await?;
    let request = Request::builder()
        .method(Method::POST)
        .uri(path)
        .header("host", "istiod.istio-system.svc")
        .header("content-type", "application/json")
        .body(Full::from(body.to_string()))
        .unwrap();
    Ok(exchange(stream, request).await)
}

#[tokio::test]
async fn readiness_version_and_the_metrics_of_every_part() {
    let meshd = ControlPlane::start("").await;
    assert_eq!(meshd.get("/ready").await, (200, "ready\n".to_owned()));
    assert_eq!(meshd.get("/version").await.0, 200);
    let (status, metrics) = meshd.get("/metrics").await;
    assert_eq!(status, 200);
    for series in [
        "istio_build{component=\"pilot\"",
        "pilot_",
        "citadel_server_root_cert_expiry_timestamp ",
        "galley_objects ",
        "galley_validation_http_error ",
        "sidecar_injection_requests_total ",
    ] {
        assert!(
            metrics.contains(series),
            "{series} is missing in:\n{metrics}"
        );
    }
    meshd.stop().await;
}

/// Pages of the HTTP port that are not for everybody.
const DEBUG_PAGES: [&str; 8] = [
    "/debug/syncz",
    "/debug/config_dump?proxy=cart.shop",
    "/debug/refusedz",
    "/debug/connections",
    "/debug/endpointz",
    "/debug/registryz",
    "/debug/diagnostics",
    "/logging",
];

#[tokio::test]
async fn debug_pages_are_for_this_machine_and_for_identities() {
    let meshd = ControlPlane::start("").await;
    for page in DEBUG_PAGES {
        let connected = if page.contains("config_dump") {
            404
        } else {
            200
        };
        assert_eq!(meshd.get(page).await.0, connected, "{page}");

        let (status, answer) = meshd.get_from_elsewhere(page, &[]).await;
        assert_eq!(status, 401, "{page}: {answer}");
        assert!(answer.contains("bearer token"), "{answer}");
        let forged = [
            ("authorization", "Bearer a.b.c"),
            ("x-forwarded-for", "127.0.0.1"),
        ];
        let (status, answer) = meshd.get_from_elsewhere(page, &forged).await;
        assert_eq!(status, 401, "{page}: {answer}");
        assert!(!answer.contains("a.b.c"), "{answer}");

        let control_plane = format!(
            "Bearer {}",
            meshd.tokens.token("istio-system", "prometheus")
        );
        let token = [("authorization", control_plane.as_str())];
        let (status, answer) = meshd.get_from_elsewhere(page, &token).await;
        assert_eq!(status, connected, "{page}: {answer}");

        let shop = format!("Bearer {}", meshd.tokens.token("shop", "cart"));
        let token = [("authorization", shop.as_str())];
        let (status, answer) = meshd.get_from_elsewhere(page, &token).await;
        let expected = match page {
            "/debug/syncz" => 200,
            _ if page.contains("config_dump") => 404,
            _ => 403,
        };
        assert_eq!(status, expected, "{page}: {answer}");
    }
    for page in ["/metrics", "/ready", "/version"] {
        assert_eq!(meshd.get_from_elsewhere(page, &[]).await.0, 200, "{page}");
    }
    meshd.stop().await;
}

#[tokio::test]
async fn the_log_level_is_not_for_everybody_to_change() {
    let meshd = ControlPlane::start("").await;
    let post = async |token: Option<&str>, origin: Option<&str>| {
        let stream = TcpStream::connect(meshd.addresses.http).await.unwrap();
        let mut request = Request::post("/logging?level=a=b=c").header("host", "localhost");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        exchange(stream, request.body(Full::default()).unwrap())
            .await
            .0
    };
    // 400: it would have been changed.
    assert_eq!(post(None, None).await, 400);
    // A page in a browser reaches loopback as well.
    let evil = Some("https://evil.example");
    assert_eq!(post(None, evil).await, 401);
    let token = |namespace| meshd.tokens.token(namespace, "x");
    assert_eq!(post(Some(&token("shop")), evil).await, 403);
    assert_eq!(post(Some(&token("istio-system")), evil).await, 400);
    meshd.stop().await;
}

#[tokio::test]
async fn a_pod_is_injected_under_the_settings_of_the_mesh() {
    let mesh = "\
apiVersion: v1
kind: ConfigMap
metadata:
  name: istio
  namespace: istio-system
data:
  mesh: |
    defaultConfig:
      terminationDrainDuration: 30s
";
    let meshd = ControlPlane::start(mesh).await;
    let original = json!({
        "metadata": {"name": "cart"},
        "spec": {"containers": [{"name": "app", "image": "cart:1"}]},
    });
    let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "1",
        "kind": {"version": "v1", "kind": "Pod"},
        "namespace": "shop",
        "object": original,
    }});
    let (status, answer) = post(&meshd, "/inject", &review).await.unwrap();
    assert_eq!(status, 200, "{answer}");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let patch = STANDARD
        .decode(answer["response"]["patch"].as_str().unwrap())
        .unwrap();
    let patch: Patch = serde_json::from_slice(&patch).unwrap();
    let mut pod = original;
    json_patch::patch(&mut pod, &patch).unwrap();
    let proxy = &pod["spec"]["containers"][1];
    let env = proxy["env"].as_array().unwrap();
    let config = env
        .iter()
        .find(|variable| variable["name"] == "PROXY_CONFIG")
        .unwrap();
    let config: Value = serde_json::from_str(config["value"].as_str().unwrap()).unwrap();
    assert_eq!(
        config,
        json!({
            "discoveryAddress": "istiod.istio-system.svc:15012",
            "terminationDrainDuration": "30s",
        })
    );

    let (status, answer) = post(&meshd, "/inject", &json!({})).await.unwrap();
    assert_eq!(status, 400, "{answer}");
    meshd.stop().await;
}

#[tokio::test]
async fn an_object_is_validated_before_it_is_stored() {
    let meshd = ControlPlane::start("").await;
    let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "1",
        "namespace": "shop",
        "object": {
            "apiVersion": "networking.istio.io/v1",
            "kind": "VirtualService",
            "metadata": {"name": "cart"},
            "spec": {"hosts": ["cart"], "http": [{"timeout": "soon"}]},
        },
    }});
    let (status, answer) = post(&meshd, "/validate", &review).await.unwrap();
    assert_eq!(status, 200, "{answer}");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["response"]["allowed"], false, "{answer}");
    meshd.stop().await;
}
