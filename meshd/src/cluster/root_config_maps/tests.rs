//! Against a mocked API server: what is listed, what is written.

use http::{Method, Request, Response};
use kube::client::Body;
use serde_json::{Value, json};
use tower_test::mock;

use super::*;
use crate::cluster::test_api::{Answer, serve};

const ROOT: &str = "-----BEGIN CERTIFICATE-----";

fn bundle() -> Arc<TrustBundle> {
    let key = rcgen::KeyPair::generate().unwrap();
    let root = rcgen::CertificateParams::default()
        .self_signed(&key)
        .unwrap();
    Arc::new(TrustBundle::from_pem(root.pem().as_bytes()).unwrap())
}

fn list(kind: &str, items: Value) -> Value {
    json!({"apiVersion": "v1", "kind": kind, "metadata": {"resourceVersion": "1"}, "items": items})
}

#[tokio::test]
async fn a_namespace_without_roots_gets_them_by_server_side_apply() {
    let (service, server) = mock::pair::<Request<Body>, Response<Body>>();
    let client = Client::new(service, "default");
    let bundle = bundle();
    let (_sender, roots) = watch::channel(bundle.clone());
    let right = json!([{
        "metadata": {"name": NAME, "namespace": "istio-system"},
        "data": {ROOT_CERT: bundle.to_pem()},
    }]);
    let namespaces = json!([
        {"metadata": {"name": "istio-system"}},
        {"metadata": {"name": "shop"}},
        {"metadata": {"name": "kube-node-lease"}},
    ]);
    let writes = serve(server, move |request| {
        match (&request.method, request.path.as_str()) {
            _ if request.is_watch() => Answer::Never,
            (&Method::GET, "/api/v1/namespaces") => {
                let mut list = list("PartialObjectMetadataList", namespaces.clone());
                list["apiVersion"] = "meta.k8s.io/v1".into();
                Answer::Ok(list)
            }
            (&Method::GET, "/api/v1/configmaps") => {
                assert!(request.query.contains("metadata.name%3Distio-ca-root-cert"));
                Answer::Ok(list("ConfigMapList", right.clone()))
            }
            _ => Answer::Write(json!({"metadata": {"name": NAME, "namespace": "shop"}})),
        }
    });
    let running = tokio::spawn(run(client, roots));
    let mut writes = writes;
    let write = writes.recv().await.unwrap();
    running.abort();
    assert_eq!(
        (write.method, write.path.as_str()),
        (
            Method::PATCH,
            "/api/v1/namespaces/shop/configmaps/istio-ca-root-cert"
        )
    );
    assert!(write.query.contains("fieldManager=istiod"));
    let text = write.body["data"][ROOT_CERT].as_str().unwrap();
    assert!(text.starts_with(ROOT) && text == bundle.to_pem());
    assert_eq!(
        write.body["metadata"]["labels"],
        json!({"istio.io/config": "true"})
    );
}
