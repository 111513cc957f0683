//! Injection offline: of any workload that carries a pod template, as `meshctl inject` has it.
//!
//! The result is what the webhook would make of the workload's pods, so that a pod of an injected workload
//! and an injected pod of a plain workload run alike.

use serde_json::Value;

use crate::config::InjectorConfig;
use crate::inject::{InjectError, Injection, inject_as, inject_pod};
use crate::json::text;
use crate::owner::Workload;
use crate::policy::{Decision, Namespace};

/// What became of an object.
#[derive(Clone, Debug, PartialEq)]
pub struct InjectedObject {
    /// The object, unchanged where nothing in it was injected.
    pub object: Value,
    /// The decisions about its pods; none if it has no pods.
    pub decisions: Vec<Decision>,
    /// What its author should know.
    pub warnings: Vec<String>,
}

/// Injects the pods of a Kubernetes object of any kind.
///
/// The object's own namespace wins over `namespace`, whose labels are used for both.
///
/// # Errors
/// When one of its pods asks for something that cannot be done.
pub fn inject_object(
    object: &Value,
    namespace: &Namespace,
    config: &InjectorConfig,
) -> Result<InjectedObject, InjectError> {
    if text(object, "kind") == Some("List") {
        return inject_list(object, namespace, config);
    }
    let namespace = Namespace {
        name: text(&object["metadata"], "namespace")
            .map_or_else(|| namespace.name.clone(), ToOwned::to_owned),
        labels: namespace.labels.clone(),
    };
    let Some(pointer) = template_pointer(object) else {
        return Ok(InjectedObject {
            object: object.clone(),
            decisions: Vec::new(),
            warnings: Vec::new(),
        });
    };
    let injection = inject_at(object, pointer, &namespace, config)?;
    let mut object = object.clone();
    if let Some(template) = object.pointer_mut(pointer) {
        *template = injection.pod;
    }
    Ok(InjectedObject {
        object,
        decisions: vec![injection.decision],
        warnings: injection.warnings,
    })
}

fn inject_at(
    object: &Value,
    pointer: &str,
    namespace: &Namespace,
    config: &InjectorConfig,
) -> Result<Injection, InjectError> {
    let pod = object.pointer(pointer).ok_or(InjectError::NotAPod)?;
    if pointer.is_empty() {
        return inject_pod(pod, namespace, config);
    }
    let field = |value, key| text(value, key).unwrap_or_default().to_owned();
    let workload = Workload {
        api_version: field(object, "apiVersion"),
        kind: field(object, "kind"),
        name: field(&object["metadata"], "name"),
    };
    inject_as(pod, &workload, namespace, config)
}

fn inject_list(
    list: &Value,
    namespace: &Namespace,
    config: &InjectorConfig,
) -> Result<InjectedObject, InjectError> {
    let mut result = InjectedObject {
        object: list.clone(),
        decisions: Vec::new(),
        warnings: Vec::new(),
    };
    if let Some(items) = result.object.get_mut("items").and_then(Value::as_array_mut) {
        for item in items {
            let mut injected = inject_object(item, namespace, config)?;
            *item = injected.object;
            result.decisions.append(&mut injected.decisions);
            result.warnings.append(&mut injected.warnings);
        }
    }
    Ok(result)
}

/// Where the pod is in an object of this kind.
fn template_pointer(object: &Value) -> Option<&'static str> {
    match text(object, "kind")? {
        "Pod" => Some(""),
        "Deployment"
        | "StatefulSet"
        | "DaemonSet"
        | "ReplicaSet"
        | "ReplicationController"
        | "Job"
        | "DeploymentConfig" => Some("/spec/template"),
        "CronJob" => Some("/spec/jobTemplate/spec/template"),
        _ => None,
    }
}
