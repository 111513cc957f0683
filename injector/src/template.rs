//! What is added to a pod: partial pods that [`crate::overlay`] merges over the user's, one after the other.
//!
//! The sidecar and the gateway are built in code rather than from text templates: the compiler sees the structure,
//! values need no quoting, and nobody can inject YAML through an annotation. What an operator adds of their own is
//! text, in [`custom`].
//!
//! Differs from Istio: the built-in templates cannot be replaced, and `grpc-*` and `waypoint` do not exist here.

pub mod custom;

mod container;
mod env;
mod init;
mod volumes;

use mesh_runtime::cpu_budget::{self, Spent};
use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::annotations::{Annotations, InterceptionMode, TEMPLATES};
use crate::config::{InjectorConfig, PROXY_CONTAINER};
use crate::json::{array_mut, items, list_with, name, string_map};
use crate::overlay;
use crate::owner::Workload;

use container::Role;
use custom::{CustomTemplate, RenderError};
pub(crate) use env::{PROBERS, PROMETHEUS};

/// The template of pods that do not ask for another.
const SIDECAR: &str = "sidecar";

/// The template of a gateway's pods.
const GATEWAY: &str = "gateway";

/// Those that nobody has to bring.
const BUILT_IN: [&str; 2] = [SIDECAR, GATEWAY];

/// Why a pod's templates cannot be applied.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TemplateError {
    /// One does not exist.
    #[error(
        "annotation \"inject.istio.io/templates\": there is no template \"{name}\", only {}",
        quoted(known)
    )]
    Unknown {
        /// What the pod asks for.
        name: String,
        /// What it may ask for.
        known: Vec<String>,
    },
    /// One made nothing of this pod.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// They cost more than one review may: a pod may name any number.
    #[error("annotation \"inject.istio.io/templates\": {0}")]
    CpuTime(#[from] Spent),
}

fn quoted(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    }
}

/// One that a pod gets.
pub(crate) enum Template<'a> {
    BuiltIn(Role),
    Custom(&'a CustomTemplate),
}

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

/// Those that the pod asks for, in order; the operator's defaults if it does not ask.
pub(crate) fn chosen<'a>(
    annotations: &Annotations,
    config: &'a InjectorConfig,
) -> Result<Vec<Template<'a>>, TemplateError> {
    let templates = &config.templates;
    let find = |name: String| match name.as_str() {
        SIDECAR => Ok(Template::BuiltIn(Role::Sidecar)),
        GATEWAY => Ok(Template::BuiltIn(Role::Gateway)),
        _ => match templates.get(&name) {
            Some(template) => Ok(Template::Custom(template)),
            None => Err(TemplateError::Unknown {
                name,
                known: templates.known().into_iter().map(str::to_owned).collect(),
            }),
        },
    };
    let names = templates.names(annotations.get(TEMPLATES));
    names.into_iter().map(find).collect()
}

/// Merges all into the pod; returns what they are together.
pub(crate) fn apply(
    templates: &[Template<'_>],
    subject: &Subject<'_>,
    pod: &mut Value,
) -> Result<Value, TemplateError> {
    let mut together = json!({});
    for template in templates {
        cpu_budget::check()?;
        let mut partial = match template {
            Template::BuiltIn(role) => built_in(*role, subject),
            Template::Custom(template) => template.render(subject)?,
        };
        follow_proxy(&mut partial, &together);
        overlay::merge(&mut together, &partial);
        overlay::merge(pod, &partial);
    }
    Ok(together)
}

/// A template cannot know in which list another one has put the proxy, so what it says of it goes there.
fn follow_proxy(partial: &mut Value, together: &Value) {
    let lists = (
        list_with(&partial["spec"], PROXY_CONTAINER),
        list_with(&together["spec"], PROXY_CONTAINER),
    );
    let (Some(here), Some(there)) = lists else {
        return;
    };
    if here != there {
        let spec = &mut partial["spec"];
        let (proxy, others) = items(spec, here)
            .iter()
            .cloned()
            .partition::<Vec<_>, _>(|item| name(item) == PROXY_CONTAINER);
        spec[here] = others.into();
        array_mut(spec, there).extend(proxy);
    }
}

/// The partial pod of a template that is built in.
fn built_in(role: Role, subject: &Subject<'_>) -> Value {
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
