//! The Deployment, Service and ServiceAccount of a Gateway that has no others. Source:
//! Istio's `kube-gateway.yaml`.
//!
//! The pod is a stub that the injector completes, as for gateways of the chart, so
//! that both have the same proxy with the same settings. All three belong to the
//! Gateway and go with it.

use ::kube::Client;
use ::kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use mesh_api::labels::Labels;
use serde_json::{Map, Value, json};

use super::FIELD_MANAGER;
use super::report::Report;
use crate::snapshot::Infrastructure;

const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";
const CLASS_NAME: &str = "gateway.networking.k8s.io/gateway-class-name";

/// On the Gateway: the type of its Service.
const SERVICE_TYPE: &str = "networking.istio.io/service-type";

/// The objects, in the order in which they are needed.
pub(super) fn objects(of: &Infrastructure, report: &Report, revision: &str) -> [Value; 3] {
    let metadata = json!({
        "name": &*of.service.name,
        "namespace": &*of.service.namespace,
        "labels": labels(of),
        "annotations": object(&of.annotations),
        "ownerReferences": [{
            "apiVersion": report.api_version,
            "kind": report.kind.name(),
            "name": of.gateway,
            "uid": report.observed.uid,
        }],
    });
    let mut account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata});
    account["metadata"]["name"] = json!(of.account);
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {
            "type": of.annotations.get(SERVICE_TYPE).unwrap_or("LoadBalancer"),
            "selector": {GATEWAY_NAME: of.gateway},
            "ports": ports(of),
        },
    });
    let deployment = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "selector": {"matchLabels": {GATEWAY_NAME: of.gateway}},
            "template": template(of, revision),
        },
    });
    [account, service, deployment]
}

/// Writes an object.
pub(super) async fn apply(client: &Client, object: &Value) -> Result<(), ::kube::Error> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let api_version = text(&object["apiVersion"]);
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(
        group,
        version,
        &text(&object["kind"]),
    ));
    let namespace = text(&object["metadata"]["namespace"]);
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &resource);
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let name = text(&object["metadata"]["name"]);
    api.patch(&name, &params, &Patch::Apply(object))
        .await
        .map(drop)
}

fn object(labels: &Labels) -> Map<String, Value> {
    let pairs = labels.iter();
    pairs
        .map(|(name, value)| (name.to_owned(), json!(value)))
        .collect()
}

fn labels(of: &Infrastructure) -> Map<String, Value> {
    let mut labels = object(&of.labels);
    labels.insert(GATEWAY_NAME.to_owned(), json!(of.gateway));
    labels.insert(CLASS_NAME.to_owned(), json!(of.class));
    labels
}

fn ports(of: &Infrastructure) -> Vec<Value> {
    let ports = of.ports.iter().map(|port| {
        json!({
            "name": port.name,
            "port": port.number,
            "targetPort": port.number,
            "protocol": "TCP",
            "appProtocol": port.protocol,
        })
    });
    ports.collect()
}

fn template(of: &Infrastructure, revision: &str) -> Value {
    let mut labels = labels(of);
    labels.insert("sidecar.istio.io/inject".to_owned(), json!("true"));
    if revision != "default" {
        labels.insert("istio.io/rev".to_owned(), json!(revision));
    }
    let mut annotations = object(&of.annotations);
    annotations.insert("inject.istio.io/templates".to_owned(), json!("gateway"));
    json!({
        "metadata": {"labels": labels, "annotations": annotations},
        "spec": {
            "serviceAccountName": of.account,
            "securityContext": {
                "seccompProfile": {"type": "RuntimeDefault"},
                "sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}],
            },
            "containers": [{
                "name": "istio-proxy",
                "image": "auto",
                // Kubernetes takes this for an image without a tag, and would pull it always.
                "imagePullPolicy": "IfNotPresent",
                "securityContext": {
                    "allowPrivilegeEscalation": false,
                    "capabilities": {"drop": ["ALL"]},
                    "privileged": false,
                    "readOnlyRootFilesystem": true,
                    "runAsNonRoot": true,
                },
            }],
        },
    })
}
