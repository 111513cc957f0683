//! Brings an injected pod back to what its author wrote.
//!
//! The status annotation lists what was added; the overrides annotation keeps the author's own version of
//! containers that were merged. What the proxy was told about probes and metrics is kept, since the pod
//! itself says only where they were redirected to.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::InjectError;
use crate::annotations::{OVERRIDES, STATUS};
use crate::config::PROXY_CONTAINER;
use crate::json::{array_mut, container, items, name, named, text};
use crate::template::{PROBERS, PROMETHEUS};

/// What an earlier injection took away from the pod.
#[derive(Debug, Default)]
pub(super) struct Earlier {
    pub(super) probers: Map<String, Value>,
    pub(super) prometheus: Option<String>,
}

/// The author's pod, and what an earlier injection knew.
pub(super) fn undo(pod: &Value) -> Result<(Value, Earlier), InjectError> {
    let annotations = &pod["metadata"]["annotations"];
    let Some(status) = text(annotations, STATUS) else {
        return Ok((pod.clone(), Earlier::default()));
    };
    let status: Value = serde_json::from_str(status).map_err(|_| InjectError::Note(STATUS))?;
    let overrides: Value = match text(annotations, OVERRIDES) {
        Some(text) => serde_json::from_str(text).map_err(|_| InjectError::Note(OVERRIDES))?,
        None => Value::Null,
    };
    let earlier = remember(pod)?;

    let mut pod = pod.clone();
    for list in [
        "initContainers",
        "containers",
        "volumes",
        "imagePullSecrets",
    ] {
        let injected = items(&status, list);
        if !injected.is_empty() && !items(&pod["spec"], list).is_empty() {
            // The note came with the pod and may be as long as its lists.
            let injected: HashSet<&str> = injected.iter().filter_map(Value::as_str).collect();
            array_mut(&mut pod["spec"], list).retain(|item| !injected.contains(name(item)));
        }
        for own in items(&overrides, list) {
            array_mut(&mut pod["spec"], list).push(own.clone());
        }
        if items(&pod["spec"], list).is_empty()
            && let Some(spec) = pod["spec"].as_object_mut()
        {
            spec.remove(list);
        }
    }
    if let Some(annotations) = pod["metadata"]["annotations"].as_object_mut() {
        annotations.remove(STATUS);
        annotations.remove(OVERRIDES);
    }
    Ok((pod, earlier))
}

fn remember(pod: &Value) -> Result<Earlier, InjectError> {
    let Some(proxy) = container(&pod["spec"], PROXY_CONTAINER) else {
        return Ok(Earlier::default());
    };
    let variable = |wanted: &str| text(named(items(proxy, "env"), wanted)?, "value");
    let probers = match variable(PROBERS) {
        Some(text) => serde_json::from_str(text).map_err(|_| InjectError::Note(PROBERS))?,
        None => Map::new(),
    };
    Ok(Earlier {
        probers,
        prometheus: variable(PROMETHEUS).map(ToOwned::to_owned),
    })
}
