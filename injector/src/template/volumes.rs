//! The proxy's volumes: its token, the mesh's roots, what Kubernetes says of the pod, and scratch space in
//! memory. Keys and certificates are never written.
//!
//! Differs from Istio: no `workload-socket`, `credential-socket` and `workload-certs`, which serve external
//! providers of certificates, and no `istio-ca-crl`.

use serde_json::{Value, json};

use super::Subject;

/// Seconds that a service-account token is valid; the kubelet renews it at four fifths.
const TOKEN_SECONDS: u32 = 43_200;

pub(super) fn volumes(subject: &Subject<'_>) -> Vec<Value> {
    let mut volumes = vec![
        json!({"name": "istio-envoy", "emptyDir": {"medium": "Memory"}}),
        json!({"name": "istio-data", "emptyDir": {}}),
        json!({"name": "istio-podinfo", "downwardAPI": {"items": [
            {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
            {"path": "annotations", "fieldRef": {"fieldPath": "metadata.annotations"}},
        ]}}),
        json!({"name": "istio-token", "projected": {"sources": [
            {"serviceAccountToken": {
                "path": "istio-token",
                "expirationSeconds": TOKEN_SECONDS,
                "audience": "istio-ca",
            }},
        ]}}),
        json!({"name": "istiod-ca-cert", "configMap": {"name": "istio-ca-root-cert"}}),
    ];
    for (name, volume) in &subject.annotations.user_volumes {
        volumes.push(with_name(name, volume));
    }
    volumes
}

pub(super) fn mounts(subject: &Subject<'_>) -> Vec<Value> {
    let mut mounts = vec![
        json!({"name": "istiod-ca-cert", "mountPath": "/var/run/secrets/istio"}),
        json!({"name": "istio-token", "mountPath": "/var/run/secrets/tokens"}),
        json!({"name": "istio-podinfo", "mountPath": "/etc/istio/pod"}),
        json!({"name": "istio-envoy", "mountPath": "/etc/istio/proxy"}),
        json!({"name": "istio-data", "mountPath": "/var/lib/istio/data"}),
    ];
    for (name, mount) in &subject.annotations.user_volume_mounts {
        mounts.push(with_name(name, mount));
    }
    mounts
}

fn with_name(name: &str, value: &Value) -> Value {
    let mut value = if value.is_object() {
        value.clone()
    } else {
        json!({})
    };
    value["name"] = name.into();
    value
}
