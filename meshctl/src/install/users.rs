//! What uses a revision of the control plane: pods with its proxy, namespaces that ask for it, tags that stand for it.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::{Api, Client, ResourceExt, api::ListParams};

use super::tag::{self, Tag};

/// On namespaces: the revision or tag whose proxy pods get. On pods, as an annotation: the revision that gave it.
const REVISION: &str = "istio.io/rev";

/// On namespaces: the default revision's proxy.
const INJECTION: &str = "istio-injection";

/// How many names of a kind are shown.
const SHOWN_MAX: usize = 5;

/// The users of a revision.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Users {
    /// `NAMESPACE/NAME` of pods that run its proxy.
    pub pods: Vec<String>,
    /// Namespaces whose new pods would get it.
    pub namespaces: Vec<String>,
    /// Tags.
    pub tags: Vec<String>,
}

impl Users {
    /// Looks for the users of a revision, empty for the default one.
    pub async fn find(client: &Client, revision: &str) -> Result<Self> {
        let pods: Api<Pod> = Api::all(client.clone());
        let pods = pods.list(&ListParams::default()).await;
        let pods = pods.context("pods cannot be listed")?.items;
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let namespaces = namespaces.list(&ListParams::default()).await;
        let namespaces = namespaces.context("namespaces cannot be listed")?.items;
        let tags = tag::list(client).await?;
        Ok(Self::among(&pods, &namespaces, &tags, tag::shown(revision)))
    }

    fn among(pods: &[Pod], namespaces: &[Namespace], tags: &[Tag], revision: &str) -> Self {
        let tags = tags.iter().filter(|tag| tag.revision == revision);
        let tags: Vec<String> = tags.map(|tag| tag.name.clone()).collect();
        let is_meant = |name: &str| name == revision || tags.iter().any(|tag| tag == name);
        let runs = |pod: &&Pod| {
            let given = pod.annotations().get(REVISION);
            given.is_some_and(|given| given == revision) && is_alive(pod)
        };
        let asks = |namespace: &&Namespace| {
            namespace.metadata.deletion_timestamp.is_none()
                && asked_for(namespace.labels()).is_some_and(is_meant)
        };
        let place = |pod: &Pod| {
            let namespace = pod.namespace().unwrap_or_default();
            format!("{namespace}/{}", pod.name_any())
        };
        Self {
            pods: pods.iter().filter(runs).map(place).collect(),
            namespaces: namespaces
                .iter()
                .filter(asks)
                .map(ResourceExt::name_any)
                .collect(),
            tags,
        }
    }

    /// What there is, in words; `None` if nothing uses it.
    pub fn describe(&self) -> Option<String> {
        let kinds = [
            ("pod", &self.pods),
            ("namespace", &self.namespaces),
            ("tag", &self.tags),
        ];
        let parts = kinds.iter().filter(|(_, names)| !names.is_empty());
        let parts: Vec<String> = parts.map(|(kind, names)| counted(kind, names)).collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}

/// The revision or tag that a namespace asks for. `istio-injection` beats `istio.io/rev`.
fn asked_for(labels: &BTreeMap<String, String>) -> Option<&str> {
    match labels.get(INJECTION).map(String::as_str) {
        Some("enabled") => Some("default"),
        Some("disabled") => None,
        _ => labels.get(REVISION).map(String::as_str),
    }
}

fn is_alive(pod: &Pod) -> bool {
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    pod.metadata.deletion_timestamp.is_none() && !matches!(phase, Some("Succeeded" | "Failed"))
}

/// `2 pods (a, b)`.
fn counted(kind: &str, names: &[String]) -> String {
    let plural = if names.len() == 1 { "" } else { "s" };
    let mut shown = names[..names.len().min(SHOWN_MAX)].join(", ");
    if names.len() > SHOWN_MAX {
        shown += ", ...";
    }
    format!("{} {kind}{plural} ({shown})", names.len())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, revision: &str, more: serde_json::Value) -> Pod {
        let mut pod = json!({"metadata": {
            "name": name, "namespace": "shop", "annotations": {REVISION: revision},
        }});
        pod["status"] = more;
        serde_json::from_value(pod).unwrap()
    }

    fn namespace(name: &str, labels: serde_json::Value) -> Namespace {
        let namespace = json!({"metadata": {"name": name, "labels": labels}});
        serde_json::from_value(namespace).unwrap()
    }

    #[test]
    fn pods_namespaces_and_tags_use_a_revision() {
        let running = json!({"phase": "Running"});
        let pods = [
            pod("a", "canary", running.clone()),
            pod("b", "default", running),
            pod("job", "canary", json!({"phase": "Succeeded"})),
        ];
        let namespaces = [
            namespace("one", json!({REVISION: "canary"})),
            namespace("two", json!({REVISION: "prod"})),
            namespace("three", json!({INJECTION: "enabled", REVISION: "canary"})),
            namespace("four", json!({INJECTION: "disabled", REVISION: "canary"})),
            namespace("five", json!({})),
        ];
        let tag = |name: &str, revision: &str| Tag {
            name: name.into(),
            revision: revision.into(),
        };
        let tags = [tag("prod", "canary"), tag("old", "default")];
        let users = |revision| Users::among(&pods, &namespaces, &tags, revision);
        assert_eq!(
            users("canary").describe().unwrap(),
            "1 pod (shop/a), 2 namespaces (one, two), 1 tag (prod)"
        );
        assert_eq!(
            users("default").describe().unwrap(),
            "1 pod (shop/b), 1 namespace (three), 1 tag (old)"
        );
        assert_eq!(users("other").describe(), None);
        let many: Vec<String> = ('a'..='g').map(String::from).collect();
        assert_eq!(counted("pod", &many), "7 pods (a, b, c, d, e, ...)");
    }
}
