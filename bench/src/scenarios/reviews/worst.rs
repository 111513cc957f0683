//! Objects that cost the most to review, of 4 MiB at most.

use bytes::Bytes;
use serde_json::{Value, json};

/// Path and body.
pub(super) fn reviews() -> Vec<(&'static str, Bytes)> {
    let mut reviews: Vec<_> = [expressions(), hosts(), matches(), values(), nested()]
        .into_iter()
        .map(|object| ("/validate", review("VirtualService", &object)))
        .collect();
    let pods = [templates(), volumes(), ports()];
    reviews.extend(pods.map(|pod| ("/inject", review("Pod", &pod))));
    reviews
}

fn review(kind: &str, object: &Value) -> Bytes {
    let review = json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {"uid": "1", "namespace": "shop", "kind": {"kind": kind}, "object": object},
    });
    review.to_string().into()
}

fn object(kind: &str, group: &str, spec: Value) -> Value {
    json!({
        "apiVersion": format!("{group}.istio.io/v1"),
        "kind": kind,
        "metadata": {"name": "worst", "namespace": "shop"},
        "spec": spec,
    })
}

fn virtual_service(hosts: Value, matches: Value) -> Value {
    let route = json!([{"destination": {"host": "cart"}}]);
    let http = json!([{"match": matches, "route": route}]);
    object(
        "VirtualService",
        "networking",
        json!({"hosts": hosts, "http": http}),
    )
}

fn expressions() -> Value {
    let each = (0..20).map(|n| json!({"uri": {"regex": format!(r"\w{{500}}{n}")}}));
    virtual_service(json!(["cart"]), each.collect())
}

fn hosts() -> Value {
    let hosts = (0..100_000).map(|n| json!(format!("host-{n}.example.com")));
    virtual_service(hosts.collect(), json!([]))
}

fn matches() -> Value {
    let each = (0..100_000).map(|n| json!({"uri": {"prefix": format!("/{n}")}}));
    virtual_service(json!(["cart"]), each.collect())
}

fn values() -> Value {
    let paths: Value = (0..150_000).map(|n| json!(format!("/path/{n}"))).collect();
    let rules = json!([{"to": [{"operation": {"paths": paths}}]}]);
    object("AuthorizationPolicy", "security", json!({"rules": rules}))
}

fn nested() -> Value {
    let deep = (0..100).fold(json!(0), |inner, _| json!([inner]));
    let many = vec![deep; 2000];
    object("Gateway", "networking", json!({"servers": many}))
}

fn pod(metadata: Value, spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
}

fn templates() -> Value {
    let annotations = json!({"inject.istio.io/templates": vec!["sidecar"; 400_000].join(",")});
    let spec = json!({"containers": [{"name": "app"}]});
    pod(json!({"name": "worst", "annotations": annotations}), spec)
}

fn volumes() -> Value {
    let named =
        |prefix: &str| -> Vec<String> { (0..40_000).map(|n| format!("{prefix}{n}")).collect() };
    let added: serde_json::Map<_, _> = named("a")
        .into_iter()
        .map(|name| (name, json!({})))
        .collect();
    let annotations = json!({"sidecar.istio.io/userVolume": json!(added).to_string()});
    let own: Vec<_> = named("b")
        .iter()
        .map(|name| json!({"name": name}))
        .collect();
    let spec = json!({"containers": [{"name": "app"}], "volumes": own});
    pod(json!({"name": "worst", "annotations": annotations}), spec)
}

fn ports() -> Value {
    let ports: Vec<_> = (0..300_000)
        .map(|n| format!("{:08}", n % 65_536 + n))
        .collect();
    let ports = ports.join(",");
    let annotations = json!({"traffic.sidecar.istio.io/excludeInboundPorts": ports});
    let spec = json!({"containers": [{"name": "app"}]});
    pod(json!({"name": "worst", "annotations": annotations}), spec)
}
