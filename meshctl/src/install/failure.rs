//! Why a deployment does not come up: states of its pods, their events, the last lines of their logs.

use std::fmt::Write as _;

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ContainerStatus, Event, Pod},
};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, LogParams},
};

/// Lines of each log.
const LOG_LINES: i64 = 5;

/// Events of each object.
const EVENTS: usize = 3;

/// Everything that the cluster says about it, one line each; what cannot be read is left out.
pub async fn explain(client: &Client, deployment: &Deployment) -> String {
    let mut text = String::new();
    let namespace = deployment.namespace().unwrap_or_default();
    conditions(deployment, &mut text);
    let selector = &deployment.spec.selector;
    let labels = selector.match_labels.clone().unwrap_or_default();
    let labels: Vec<String> = labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    let found = pods
        .list(&ListParams::default().labels(&labels.join(",")))
        .await;
    let events: Api<Event> = Api::namespaced(client.clone(), &namespace);
    for pod in found.map(|list| list.items).unwrap_or_default() {
        let name = pod.name_any();
        pod_state(&pod, &mut text);
        warnings(&events, &name, &mut text).await;
        for container in unready(&pod) {
            log(&pods, &name, container, &mut text).await;
        }
    }
    text.trim_end().to_owned()
}

fn conditions(deployment: &Deployment, text: &mut String) {
    let status = deployment.status.as_ref();
    let conditions = status
        .into_iter()
        .flat_map(|status| status.conditions.iter().flatten());
    for condition in conditions {
        let kind = condition.type_.as_deref().unwrap_or_default();
        let holds = condition.status.as_deref() == Some("True");
        // The other types say that all is well where they hold.
        if holds == (kind == "ReplicaFailure") {
            let message = condition.message.as_deref().unwrap_or_default();
            let _ = writeln!(text, "  {kind}: {message}");
        }
    }
}

fn pod_state(pod: &Pod, text: &mut String) {
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    let _ = writeln!(
        text,
        "  pod {}: {}",
        pod.name_any(),
        phase.unwrap_or("unknown")
    );
    for container in containers(pod) {
        if let Some(reason) = reason(container) {
            let _ = writeln!(text, "    container {}: {reason}", container.name);
        }
    }
}

fn containers(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.as_ref();
    status.into_iter().flat_map(|status| {
        let init = status.init_container_statuses.iter().flatten();
        init.chain(status.container_statuses.iter().flatten())
    })
}

fn unready(pod: &Pod) -> impl Iterator<Item = &str> {
    containers(pod)
        .filter(|container| !container.ready)
        .map(|container| &*container.name)
}

/// What keeps a container from running.
fn reason(container: &ContainerStatus) -> Option<String> {
    let state = container.state.as_ref()?;
    let join = |reason: Option<&String>, message: Option<&String>| {
        let parts = [reason, message].into_iter().flatten();
        parts.map(String::as_str).collect::<Vec<_>>().join(": ")
    };
    if let Some(waiting) = &state.waiting {
        return Some(join(waiting.reason.as_ref(), waiting.message.as_ref()));
    }
    if let Some(ended) = state
        .terminated
        .as_ref()
        .filter(|ended| ended.exit_code != 0)
    {
        let reason = join(ended.reason.as_ref(), ended.message.as_ref());
        return Some(format!("ended with code {}: {reason}", ended.exit_code));
    }
    (!container.ready && state.running.is_some()).then(|| "runs, but is not ready".to_owned())
}

async fn warnings(events: &Api<Event>, pod: &str, text: &mut String) {
    let selector = format!("type=Warning,involvedObject.name={pod}");
    let found = events.list(&ListParams::default().fields(&selector)).await;
    let found = found.map(|list| list.items).unwrap_or_default();
    for event in found.iter().rev().take(EVENTS) {
        let reason = event.reason.as_deref().unwrap_or("event");
        let message = event.message.as_deref().unwrap_or_default();
        let _ = writeln!(text, "    {reason}: {}", message.trim());
    }
}

async fn log(pods: &Api<Pod>, pod: &str, container: &str, text: &mut String) {
    let params = LogParams {
        container: Some(container.to_owned()),
        tail_lines: Some(LOG_LINES),
        ..LogParams::default()
    };
    let Ok(lines) = pods.logs(pod, &params).await else {
        return;
    };
    for line in lines.lines() {
        let _ = writeln!(text, "    {container} | {line}");
    }
}
