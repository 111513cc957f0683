//! Reviews as the API server sends them.

use serde_json::json;

use super::*;

fn webhook() -> Webhook {
    Webhook::new(Arc::new(InjectorConfig::default), Metrics::default())
}

fn pod() -> Value {
    json!({
        "metadata": {"generateName": "cart-", "labels": {"app": "cart"}},
        "spec": {"containers": [{"name": "app", "image": "cart:1"}], "futureField": {"kept": true}},
    })
}

/// What the webhook answers.
fn answer_to(webhook: &Webhook, review: &Value, settings: &str) -> Result<Value, ReviewError> {
    webhook.review(review.to_string().as_bytes(), settings)
}

fn review(pod: Value) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "namespace": "shop",
            "operation": "CREATE",
            "object": pod,
        },
    })
}

fn patched(answer: &Value) -> Value {
    let patch = STANDARD
        .decode(answer["response"]["patch"].as_str().unwrap())
        .unwrap();
    let patch: json_patch::Patch = serde_json::from_slice(&patch).unwrap();
    let mut pod = pod();
    json_patch::patch(&mut pod, &patch).unwrap();
    pod
}

#[test]
fn a_pod_is_patched_to_what_injection_makes_of_it() {
    let webhook = webhook();
    let answer = answer_to(&webhook, &review(pod()), "").unwrap();
    assert_eq!(answer["kind"], "AdmissionReview");
    assert_eq!(answer["apiVersion"], "admission.k8s.io/v1");
    assert_eq!(answer["response"]["uid"], "705ab4f5");
    assert_eq!(answer["response"]["allowed"], true);
    assert_eq!(answer["response"]["patchType"], "JSONPatch");
    let namespace = Namespace {
        name: "shop".to_owned(),
        labels: None,
    };
    let expected = inject_pod(&pod(), &namespace, &InjectorConfig::default()).unwrap();
    assert_eq!(patched(&answer), expected.pod);
    assert_eq!(
        patched(&answer)["spec"]["futureField"],
        json!({"kept": true})
    );
    assert_eq!(webhook.metrics.success.get(), 1);
}

#[test]
fn a_pod_left_alone_is_allowed_without_patch() {
    let webhook = webhook();
    let mut pod = pod();
    pod["spec"]["hostNetwork"] = true.into();
    let answer = answer_to(&webhook, &review(pod), "").unwrap();
    assert_eq!(
        answer["response"],
        json!({"uid": "705ab4f5", "allowed": true})
    );
    assert_eq!(webhook.metrics.skip.get(), 1);
}

#[test]
fn a_pod_that_asks_for_the_impossible_is_refused_with_the_reason() {
    let mut pod = pod();
    pod["metadata"]["annotations"] = json!({"sidecar.istio.io/interceptionMode": "MAGIC"});
    let webhook = webhook();
    let answer = answer_to(&webhook, &review(pod), "").unwrap();
    assert_eq!(
        answer["response"],
        json!({"uid": "705ab4f5", "allowed": false, "status": {
            "code": 400,
            "message": "sidecar injection: annotation \"sidecar.istio.io/interceptionMode\": value \
                        \"MAGIC\" is not one of REDIRECT, TPROXY, NONE",
        }})
    );
    assert_eq!(webhook.metrics.failure.get(), 1);
}

#[test]
fn warnings_reach_the_user() {
    let mut pod = pod();
    pod["metadata"]["annotations"] = json!({"sidecar.istio.io/statsCompression": "gzip"});
    let answer = answer_to(&webhook(), &review(pod), "").unwrap();
    assert_eq!(
        answer["response"]["warnings"],
        json!([
            "annotation \"sidecar.istio.io/statsCompression\" has no effect: statistics are not compressed"
        ])
    );
}

#[test]
fn the_path_names_cluster_and_network() {
    let review = review(pod());
    let answer = answer_to(&webhook(), &review, "cluster/east/net/vpc-1").unwrap();
    let pod = patched(&answer);
    assert_eq!(
        pod["metadata"]["labels"]["topology.istio.io/network"],
        "vpc-1"
    );
    let env = pod["spec"]["containers"][1]["env"].as_array().unwrap();
    assert!(env.contains(&json!({"name": "ISTIO_META_CLUSTER_ID", "value": "east"})));
    assert!(env.contains(&json!({"name": "ISTIO_META_NETWORK", "value": "vpc-1"})));
}

#[test]
fn what_is_no_review_of_a_pod_is_an_error() {
    let webhook = webhook();
    let refused = |review: Value| answer_to(&webhook, &review, "").unwrap_err();
    assert_eq!(refused(json!({})), ReviewError::NoRequest);
    assert_eq!(refused(json!({"request": {}})), ReviewError::NoUid);
    assert_eq!(webhook.review(b"{", ""), Err(ReviewError::NoRequest));
    let mut deployment = review(pod());
    deployment["request"]["kind"]["kind"] = "Deployment".into();
    assert_eq!(
        refused(deployment).to_string(),
        "only pods are injected, the request is about \"Deployment\""
    );
}
