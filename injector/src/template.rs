//! What is added to a pod: a partial pod that [`crate::overlay`] merges over the user's.
//!
//! Built in code rather than from text templates: the compiler sees the structure, values need no quoting,
//! and nobody can inject YAML through an annotation. The price is that operators cannot bring templates of
//! their own.
//!
//! Differs from Istio: custom templates, `grpc-*`, `waypoint` and `spire` do not exist here.

mod container;
mod env;
mod init;
mod volumes;

use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::annotations::{Annotations, InterceptionMode, TEMPLATES};
use crate::config::{InjectorConfig, PROXY_CONTAINER};
use crate::json::{items, name, string_map};
use crate::owner::Workload;

pub(crate) use container::Role;
pub(crate) use env::{PROBERS, PROMETHEUS};

/// A template that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "annotation \"inject.istio.io/templates\": there is no template \"{0}\", only \"sidecar\" and \"gateway\""
)]
pub struct UnknownTemplate(pub String);

/// Everything a template may look at.
pub(crate) struct Subject<'a> {
    pub(crate) pod: &'a Value,
    pub(crate) namespace: &'a str,
    pub(crate) workload: &'a Workload,
    pub(crate) annotations: &'a Annotations,
    pub(crate) config: &'a InjectorConfig,
}

impl Subject<'_> {
    /// The names of the user's containers.
    fn app_containers(&self) -> Vec<&str> {
        let containers = items(&self.pod["spec"], "containers").iter().map(name);
        containers.filter(|name| *name != PROXY_CONTAINER).collect()
    }

    fn is_tproxy(&self) -> bool {
        self.annotations.interception_mode == InterceptionMode::Tproxy
    }
}

/// The template that the pod asks for; the sidecar if it does not ask.
pub(crate) fn role(annotations: &Annotations) -> Result<Role, UnknownTemplate> {
    match annotations.get(TEMPLATES).map(str::trim) {
        None | Some("sidecar") => Ok(Role::Sidecar),
        Some("gateway") => Ok(Role::Gateway),
        Some(other) => Err(UnknownTemplate(other.to_owned())),
    }
}

/// The partial pod.
pub(crate) fn render(role: Role, subject: &Subject<'_>) -> Value {
    json!({
        "metadata": {
            "labels": labels(role, subject),
            "annotations": annotations(role, subject),
        },
        "spec": match role {
            Role::Sidecar => sidecar_spec(subject),
            Role::Gateway => gateway_spec(subject),
        },
    })
}

fn sidecar_spec(subject: &Subject<'_>) -> Value {
    let config = subject.config;
    let mut init = Vec::new();
    if subject.annotations.interception_mode != InterceptionMode::None {
        init.push(init::container(subject));
    }
    let mut proxy = container::proxy(Role::Sidecar, subject);
    let mut spec = json!({"volumes": volumes::volumes(subject)});
    if subject.annotations.native_sidecar {
        proxy["restartPolicy"] = Value::from("Always");
        init.push(proxy);
    } else {
        spec["containers"] = json!([proxy]);
    }
    if !init.is_empty() {
        spec["initContainers"] = Value::Array(init);
    }
    with_pull_secrets(spec, config)
}

fn gateway_spec(subject: &Subject<'_>) -> Value {
    let spec = json!({
        // Ports below 1024 without a capability: the proxy is not root.
        "securityContext": {
            "sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}],
        },
        "containers": [container::proxy(Role::Gateway, subject)],
        "volumes": volumes::volumes(subject),
    });
    with_pull_secrets(spec, subject.config)
}

fn with_pull_secrets(mut spec: Value, config: &InjectorConfig) -> Value {
    if !config.image_pull_secrets.is_empty() {
        let secrets = config.image_pull_secrets.iter();
        spec["imagePullSecrets"] = secrets.map(|name| json!({"name": name})).collect();
    }
    spec
}

fn labels(role: Role, subject: &Subject<'_>) -> Map<String, Value> {
    let own = string_map(&subject.pod["metadata"]["labels"]);
    let first_of = |keys: &[&str], default: &str| {
        let found = keys.iter().find_map(|key| own.get(*key));
        found.map_or(default, String::as_str).to_owned()
    };
    let canonical_name = first_of(
        &[CANONICAL_NAME, "app.kubernetes.io/name", "app"],
        &subject.workload.name,
    );
    let canonical_revision = first_of(
        &[CANONICAL_REVISION, "app.kubernetes.io/version", "version"],
        "latest",
    );
    let mut labels = Map::new();
    labels.insert(CANONICAL_NAME.into(), as_label(&canonical_name).into());
    labels.insert(CANONICAL_REVISION.into(), canonical_revision.into());
    if role == Role::Sidecar {
        // Tells clients that this endpoint speaks mutual TLS; an operator may have decided otherwise.
        labels.insert(TLS_MODE.into(), first_of(&[TLS_MODE], "istio").into());
    }
    if let Some(network) = &subject.config.network {
        labels.insert("topology.istio.io/network".into(), network.clone().into());
    }
    labels
}

const CANONICAL_NAME: &str = "service.istio.io/canonical-name";
const CANONICAL_REVISION: &str = "service.istio.io/canonical-revision";
const TLS_MODE: &str = "security.istio.io/tlsMode";

/// Cut to the length of a label's value, without separators at the ends.
fn as_label(value: &str) -> String {
    let cut: String = value.chars().take(63).collect();
    cut.trim_matches(['-', '_', '.']).to_owned()
}

fn annotations(role: Role, subject: &Subject<'_>) -> Map<String, Value> {
    let injected = subject.config.injected_annotations.iter();
    let mut annotations: Map<String, Value> = injected
        .map(|(key, value)| (key.clone(), value.clone().into()))
        .collect();
    annotations.insert(
        "istio.io/rev".into(),
        subject.config.revision.clone().into(),
    );
    if let Some(first) = subject.app_containers().first() {
        for key in [
            "kubectl.kubernetes.io/default-container",
            "kubectl.kubernetes.io/default-logs-container",
        ] {
            if subject.annotations.get(key).is_none() {
                annotations.insert(key.into(), (*first).into());
            }
        }
    }
    if subject.config.cni && role == Role::Sidecar {
        annotations.extend(init::annotations(subject));
    }
    annotations
}
