//! The proxy's environment: who it is, and what goes into its node metadata.

use serde_json::{Value, json};

use super::Subject;
use crate::annotations::DATA_PLANE;
use crate::config::STATUS_PORT;
use crate::json::items;

/// Carries the application's probes, see [`crate::probe`].
pub(crate) const PROBERS: &str = "ISTIO_KUBE_APP_PROBERS";
/// Carries the application's metrics endpoint, see [`crate::prometheus`].
pub(crate) const PROMETHEUS: &str = "ISTIO_PROMETHEUS_ANNOTATIONS";

pub(super) fn proxy(subject: &Subject<'_>) -> Vec<Value> {
    let mut env = pod_identity();
    env.push(variable("CA_ADDR", &subject.config.ca_address));
    env.push(variable("PROXY_CONFIG", &proxy_config(subject)));
    env.push(variable("TRUST_DOMAIN", &subject.config.trust_domain));
    env.push(variable("WEFT_LOG", log_filter(subject)));
    if let Some(data_plane) = subject.annotations.get(DATA_PLANE) {
        env.push(variable("WEFT_DATA_PLANE", data_plane));
    }
    env.extend(metadata(subject));
    env.extend(proxy_metadata(subject));
    env
}

/// What `proxyMetadata` of the ProxyConfig sets, in proxy and init container.
pub(super) fn proxy_metadata(subject: &Subject<'_>) -> Vec<Value> {
    let entries = crate::json::string_map(&subject.annotations.proxy_config["proxyMetadata"]);
    entries
        .iter()
        .map(|(name, value)| variable(name, value))
        .collect()
}

fn pod_identity() -> Vec<Value> {
    vec![
        field("POD_NAME", "metadata.name"),
        field("POD_NAMESPACE", "metadata.namespace"),
        field("INSTANCE_IP", "status.podIP"),
        field("SERVICE_ACCOUNT", "spec.serviceAccountName"),
        field("HOST_IP", "status.hostIP"),
        json!({
            "name": "ISTIO_CPU_LIMIT",
            "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1"}},
        }),
    ]
}

fn metadata(subject: &Subject<'_>) -> Vec<Value> {
    let config = subject.config;
    let mesh_id = config.mesh_id.as_ref().unwrap_or(&config.trust_domain);
    let workload_name = subject.pod["metadata"]["labels"]["service.istio.io/workload-name"]
        .as_str()
        .unwrap_or(&subject.workload.name);
    let mut env = vec![
        variable("ISTIO_META_POD_PORTS", &ports(subject)),
        variable(
            "ISTIO_META_APP_CONTAINERS",
            &subject.app_containers().join(","),
        ),
        variable("ISTIO_META_CLUSTER_ID", &config.cluster_id),
        field("ISTIO_META_NODE_NAME", "spec.nodeName"),
        variable(
            "ISTIO_META_INTERCEPTION_MODE",
            subject.annotations.interception_mode.as_str(),
        ),
        variable("ISTIO_META_WORKLOAD_NAME", workload_name),
        variable("ISTIO_META_OWNER", &subject.workload.uri(subject.namespace)),
        variable("ISTIO_META_MESH_ID", mesh_id),
    ];
    if let Some(network) = &config.network {
        env.push(variable("ISTIO_META_NETWORK", network));
    }
    env
}

/// The ports that the user's containers declare, as a JSON list.
fn ports(subject: &Subject<'_>) -> String {
    let containers = items(&subject.pod["spec"], "containers");
    let ports = containers
        .iter()
        .flat_map(|container| items(container, "ports"));
    Value::Array(ports.cloned().collect()).to_string()
}

/// The effective ProxyConfig, with what older annotations say about it.
fn proxy_config(subject: &Subject<'_>) -> String {
    let mut config = subject.annotations.proxy_config.clone();
    if let Value::Object(config) = &mut config {
        if let Some(address) = subject.annotations.discovery_address() {
            config.insert("discoveryAddress".into(), address.into());
        }
        let status_port = subject.annotations.status_port_or_default();
        if status_port != STATUS_PORT {
            config.insert("statusPort".into(), status_port.into());
        }
    }
    config.to_string()
}

fn log_filter<'a>(subject: &'a Subject<'_>) -> &'a str {
    let level = subject
        .annotations
        .or("sidecar.istio.io/logLevel", &subject.config.log_level);
    // Envoy's names for what Rust calls otherwise.
    match level {
        "warning" => "warn",
        "critical" => "error",
        other => other,
    }
}

fn variable(name: &str, value: &str) -> Value {
    json!({"name": name, "value": value})
}

fn field(name: &str, path: &str) -> Value {
    json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}})
}
