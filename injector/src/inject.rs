//! The pipeline: decide, read, render, merge, rewrite, arrange, and leave a note for next time.
//!
//! A pod that was injected before is first brought back to what its author wrote, so that injecting twice
//! equals injecting once with today's settings.

mod reinjection;

use std::collections::HashMap;

use mesh_runtime::cpu_budget::Spent;
use serde_json::{Value, json};
use thiserror::Error;

use crate::annotations::{AnnotationError, Annotations, OVERRIDES, STATUS};
use crate::config::{INIT_CONTAINER, InjectorConfig, PROXY_CONTAINER, VALIDATION_CONTAINER};
use crate::json::{
    CONTAINERS, array_mut, container, items, list_with, name, named, object_mut, string_map, text,
};
use crate::owner::Workload;
use crate::policy::{self, Decision, Namespace, Policy};
use crate::prometheus::{self, PrometheusError};
use crate::template::{self, PROBERS, PROMETHEUS, Subject, Template, TemplateError};
use crate::{order, overlay, probe};
use reinjection::Earlier;

/// An image name that stands for ours, as `image` is a required field of a container.
const AUTO_IMAGE: &str = "auto";

/// Why a pod cannot be injected.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InjectError {
    /// The object has no containers.
    #[error("the object is not a pod: \"spec.containers\" is missing")]
    NotAPod,
    /// An annotation cannot be understood.
    #[error(transparent)]
    Annotation(#[from] AnnotationError),
    /// The pod's templates cannot be applied.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The application's metrics endpoint cannot be merged.
    #[error(transparent)]
    Prometheus(#[from] PrometheusError),
    /// A note of an earlier injection was damaged.
    #[error("annotation \"{0}\" is not what an earlier injection wrote")]
    Note(&'static str),
    /// The pod costs more than one review may.
    #[error("the pod cannot be injected: {0}")]
    CpuTime(#[from] Spent),
}

/// What became of a pod.
#[derive(Clone, Debug, PartialEq)]
pub struct Injection {
    /// Whether it was injected, and why.
    pub decision: Decision,
    /// The pod, unchanged if it was not injected.
    pub pod: Value,
    /// What its author should know.
    pub warnings: Vec<String>,
}

/// Injects a pod if policy says so.
///
/// # Errors
/// When the pod asks for something that cannot be done; it must not be created then.
pub fn inject_pod(
    pod: &Value,
    namespace: &Namespace,
    config: &InjectorConfig,
) -> Result<Injection, InjectError> {
    inject_as(pod, &Workload::of_pod(pod), namespace, config)
}

/// The same for a pod whose workload is known from elsewhere.
pub(crate) fn inject_as(
    pod: &Value,
    workload: &Workload,
    namespace: &Namespace,
    config: &InjectorConfig,
) -> Result<Injection, InjectError> {
    let decision = policy::decide(pod, namespace, Policy::of(config));
    if !decision.is_inject() {
        return Ok(Injection {
            decision,
            pod: pod.clone(),
            warnings: skip_warnings(pod, decision),
        });
    }
    let (pod, warnings) = inject(pod, workload, namespace, config)?;
    Ok(Injection {
        decision,
        pod,
        warnings,
    })
}

fn inject(
    original: &Value,
    workload: &Workload,
    namespace: &Namespace,
    config: &InjectorConfig,
) -> Result<(Value, Vec<String>), InjectError> {
    if items(&original["spec"], "containers").is_empty() {
        return Err(InjectError::NotAPod);
    }
    let (user_pod, earlier) = reinjection::undo(original)?;
    let annotations = Annotations::parse(string_map(&user_pod["metadata"]["annotations"]), config)?;
    let templates = template::chosen(&annotations, config)?;
    let subject = Subject {
        pod: &user_pod,
        namespace: &namespace.name,
        workload,
        annotations: &annotations,
        config,
    };
    let mut pod = user_pod.clone();
    let rendered = template::apply(&templates, &subject, &mut pod)?;
    let overrides = reapply_overrides(&mut pod, &user_pod, &rendered);
    exempt_own_user(&mut pod, &overrides);
    let mut warnings = annotations.warnings();
    warnings.extend(dns_warning(&user_pod));
    if list_with(&rendered["spec"], PROXY_CONTAINER).is_some() {
        let customized = templates
            .iter()
            .any(|template| matches!(template, Template::Custom(_)));
        // A template of the operator may switch these off by the pod's annotations, as the pod's author may.
        let annotations = match customized {
            true => &Annotations::parse(string_map(&pod["metadata"]["annotations"]), config)?,
            false => &annotations,
        };
        finish_environment(&mut pod, annotations, &earlier, &mut warnings)?;
    }
    leave_notes(&mut pod, &rendered, overrides, config);
    order::arrange(&mut pod, annotations.holds_application(config));
    Ok((pod, warnings))
}

/// Lays the user's own version of an injected container over ours; returns what was laid over.
fn reapply_overrides(pod: &mut Value, user_pod: &Value, rendered: &Value) -> Value {
    let mut overrides = json!({});
    let mut users = HashMap::new();
    for list in CONTAINERS {
        for item in items(&user_pod["spec"], list) {
            users.entry(name(item)).or_insert(item);
        }
    }
    for list in CONTAINERS {
        let injected = items(&rendered["spec"], list).iter();
        let own = injected.filter_map(|injected| users.get(name(injected)));
        let own: Vec<Value> = own.map(|own| without_auto_image(own)).collect();
        if !own.is_empty() {
            overlay::merge(&mut pod["spec"], &json!({list: &own}));
            array_mut(&mut overrides, list).extend(own);
        }
    }
    // The user's container of that name in the other list has been merged into ours.
    if named(items(&rendered["spec"], "initContainers"), PROXY_CONTAINER).is_some() {
        array_mut(&mut pod["spec"], "containers").retain(|item| name(item) != PROXY_CONTAINER);
    }
    overrides
}

fn without_auto_image(container: &Value) -> Value {
    let mut container = container.clone();
    if container["image"] == AUTO_IMAGE
        && let Some(container) = container.as_object_mut()
    {
        container.remove("image");
    }
    container
}

/// The capture rules exempt the proxy by its user, so they must know the user's choice of one.
fn exempt_own_user(pod: &mut Value, overrides: &Value) {
    let own = container(overrides, PROXY_CONTAINER);
    let Some(user) = own.and_then(|own| own["securityContext"]["runAsUser"].as_u64()) else {
        return;
    };
    let init = pod["spec"]
        .get_mut("initContainers")
        .and_then(Value::as_array_mut);
    let init = init
        .into_iter()
        .flatten()
        .find(|item| [INIT_CONTAINER, VALIDATION_CONTAINER].contains(&name(item)));
    // Root's traffic cannot be exempt: it would be everybody's.
    if let Some(args) = init.and_then(|init| init["args"].as_array_mut())
        && user != 0
        && let Some(flag) = args.iter().position(|arg| arg == "-u")
        && let Some(value) = args.get_mut(flag + 1)
    {
        *value = user.to_string().into();
    }
}

/// Hands probes and metrics endpoint of the application to the proxy.
fn finish_environment(
    pod: &mut Value,
    annotations: &Annotations,
    earlier: &Earlier,
    warnings: &mut Vec<String>,
) -> Result<(), InjectError> {
    if annotations.merge_prometheus {
        let found = prometheus::merge(pod, annotations.status_port_or_default())?;
        if let Some(value) = found.or_else(|| earlier.prometheus.clone()) {
            set_proxy_variable(pod, PROMETHEUS, &value);
        }
    }
    if annotations.rewrite_probes {
        let mut rewritten = probe::rewrite(pod, annotations.status_port_or_default());
        warnings.append(&mut rewritten.warnings);
        let mut probers = earlier.probers.clone();
        probers.append(&mut rewritten.probers);
        if !probers.is_empty() {
            set_proxy_variable(pod, PROBERS, &Value::Object(probers).to_string());
        }
    }
    Ok(())
}

fn set_proxy_variable(pod: &mut Value, variable: &str, value: &str) {
    let env = json!([{"name": variable, "value": value}]);
    if let Some(list) = list_with(&pod["spec"], PROXY_CONTAINER) {
        let patch = json!({list: [{"name": PROXY_CONTAINER, "env": env}]});
        overlay::merge(&mut pod["spec"], &patch);
    }
}

/// Lists what was injected, so that it can be taken out again.
fn leave_notes(pod: &mut Value, rendered: &Value, overrides: Value, config: &InjectorConfig) {
    let names = |list: &str| -> Value {
        let items = items(&rendered["spec"], list);
        match items {
            [] => Value::Null,
            items => items.iter().map(name).collect(),
        }
    };
    let status = json!({
        "initContainers": names("initContainers"),
        "containers": names("containers"),
        "volumes": names("volumes"),
        "imagePullSecrets": names("imagePullSecrets"),
        "revision": config.revision,
    });
    let annotations = object_mut(&mut pod["metadata"], "annotations");
    annotations.insert(STATUS.into(), status.to_string().into());
    if overrides != json!({}) {
        annotations.insert(OVERRIDES.into(), overrides.to_string().into());
    }
}

fn skip_warnings(pod: &Value, decision: Decision) -> Vec<String> {
    let proxy = named(items(&pod["spec"], "containers"), PROXY_CONTAINER);
    match proxy.and_then(|proxy| text(proxy, "image")) {
        Some(AUTO_IMAGE) => vec![format!(
            "the image \"auto\" of container \"{PROXY_CONTAINER}\" is not replaced: {}",
            decision.reason()
        )],
        _ => Vec::new(),
    }
}

fn dns_warning(pod: &Value) -> Option<String> {
    let policy = text(&pod["spec"], "dnsPolicy")?;
    (policy != "ClusterFirst").then(|| {
        format!("dnsPolicy \"{policy}\": the proxy may not find the control plane by its name")
    })
}

#[cfg(test)]
mod tests;
