//! Against a mocked API server: roots first, fail-closed once the probe was refused.

use http::{Method, Request, Response};
use kube::client::Body;
use serde_json::json;
use tower_test::mock;

use super::*;
use crate::cluster::test_api::{Answer, serve};

#[tokio::test]
async fn a_validation_webhook_gets_roots_and_fails_closed_after_the_probe() {
    let (service, server) = mock::pair::<Request<Body>, Response<Body>>();
    let client = Client::new(service, "default");
    let key = rcgen::KeyPair::generate().unwrap();
    let root = rcgen::CertificateParams::default()
        .self_signed(&key)
        .unwrap();
    let bundle = Arc::new(TrustBundle::from_pem(root.pem().as_bytes()).unwrap());
    let (_sender, roots) = watch::channel(bundle);
    let configuration = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "istio-validator-istio-system", "resourceVersion": "1"},
        "webhooks": [{
            "name": "rev.validation.istio.io", "failurePolicy": "Ignore", "sideEffects": "None",
            "admissionReviewVersions": ["v1"], "clientConfig": {},
        }],
    });
    let mut writes = serve(server, move |request| match request.method {
        _ if request.is_watch() => Answer::Never,
        Method::GET => {
            assert!(request.query.contains("istio.io%2Frev%3Dcanary"));
            Answer::Ok(json!({
                "apiVersion": "admissionregistration.k8s.io/v1",
                "kind": "ValidatingWebhookConfigurationList",
                "metadata": {"resourceVersion": "1"}, "items": [configuration.clone()],
            }))
        }
        Method::POST => {
            assert!(request.query.contains("dryRun=All"));
            Answer::Status(
                400,
                "BadRequest",
                "admission webhook \"rev.validation.istio.io\" denied the request: bad",
            )
        }
        _ => Answer::Write(configuration.clone()),
    });
    let writer = WebhookCa::new(client, "istio-system", "canary");
    let running = tokio::spawn(writer.run_validating(roots));
    let write = writes.recv().await.unwrap();
    running.abort();
    assert!(write.path.ends_with("/istio-validator-istio-system"));
    let webhook = &write.body["webhooks"][0];
    assert_eq!(webhook["failurePolicy"], "Fail");
    assert!(webhook["clientConfig"]["caBundle"].is_string());
}
