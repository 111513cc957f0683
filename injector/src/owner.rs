//! The workload that a pod belongs to, as far as the pod itself tells.
//!
//! A pod of a Deployment names its ReplicaSet only; the Deployment's name is the ReplicaSet's without the hash
//! that the controller appends. Likewise a CronJob's Job ends with the minute it was made for.

use serde_json::Value;

use crate::json::{items, text};

/// What workload a pod is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Workload {
    pub(crate) api_version: String,
    pub(crate) kind: String,
    pub(crate) name: String,
}

impl Workload {
    /// From the pod's metadata; a pod without owner is its own workload.
    pub(crate) fn of_pod(pod: &Value) -> Self {
        let metadata = &pod["metadata"];
        let owners = items(metadata, "ownerReferences");
        let controller = owners
            .iter()
            .find(|owner| owner["controller"] == Value::Bool(true));
        match controller {
            Some(controller) => Self::of_controller(controller, metadata),
            None => Self {
                api_version: "v1".to_owned(),
                kind: "Pod".to_owned(),
                name: own_name(metadata).to_owned(),
            },
        }
    }

    fn of_controller(controller: &Value, metadata: &Value) -> Self {
        let field = |key| text(controller, key).unwrap_or_default().to_owned();
        let (api_version, kind, name) = (field("apiVersion"), field("kind"), field("name"));
        let hash = text(&metadata["labels"], "pod-template-hash");
        if kind == "ReplicaSet"
            && let Some(hash) = hash
            && let Some(deployment) = name
                .strip_suffix(hash)
                .and_then(|rest| rest.strip_suffix('-'))
        {
            return Self {
                api_version,
                kind: "Deployment".to_owned(),
                name: deployment.to_owned(),
            };
        }
        if kind == "Job"
            && let Some(cron_job) = cron_job(&name)
        {
            return Self {
                api_version,
                kind: "CronJob".to_owned(),
                name: cron_job.to_owned(),
            };
        }
        Self {
            api_version,
            kind,
            name,
        }
    }

    /// `kubernetes://apis/…`, as node metadata has it.
    pub(crate) fn uri(&self, namespace: &str) -> String {
        let Self {
            api_version,
            kind,
            name,
        } = self;
        let kind = kind.to_ascii_lowercase();
        format!("kubernetes://apis/{api_version}/namespaces/{namespace}/{kind}s/{name}")
    }
}

fn own_name(metadata: &Value) -> &str {
    text(metadata, "name")
        .or_else(|| text(metadata, "generateName").map(|name| name.trim_end_matches('-')))
        .unwrap_or_default()
}

/// The name before `-` and the 8 to 10 digits of a scheduled time.
fn cron_job(job: &str) -> Option<&str> {
    let (name, time) = job.rsplit_once('-')?;
    let is_time = (8..=10).contains(&time.len()) && time.bytes().all(|byte| byte.is_ascii_digit());
    (is_time && !name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn owned(api_version: &str, kind: &str, name: &str) -> String {
        let pod = json!({"metadata": {
            "generateName": "x-",
            "labels": {"pod-template-hash": "5d4f8c7b9"},
            "ownerReferences": [
                {"apiVersion": api_version, "kind": kind, "name": name, "controller": true},
            ],
        }});
        Workload::of_pod(&pod).uri("shop")
    }

    #[test]
    fn controllers_behind_controllers_are_found_by_name() {
        let uri = "kubernetes://apis/apps/v1/namespaces/shop";
        assert_eq!(
            owned("apps/v1", "ReplicaSet", "cart-v1-5d4f8c7b9"),
            format!("{uri}/deployments/cart-v1")
        );
        assert_eq!(
            owned("apps/v1", "ReplicaSet", "alone"),
            format!("{uri}/replicasets/alone")
        );
        assert_eq!(
            owned("batch/v1", "Job", "report-28123456"),
            "kubernetes://apis/batch/v1/namespaces/shop/cronjobs/report"
        );
        assert_eq!(
            owned("batch/v1", "Job", "once"),
            "kubernetes://apis/batch/v1/namespaces/shop/jobs/once"
        );
        assert_eq!(
            owned("apps/v1", "StatefulSet", "db"),
            format!("{uri}/statefulsets/db")
        );
    }

    #[test]
    fn a_bare_pod_is_its_own_workload() {
        let uri = |pod: Value| Workload::of_pod(&pod).uri("shop");
        let expected = "kubernetes://apis/v1/namespaces/shop/pods/sleep";
        assert_eq!(uri(json!({"metadata": {"name": "sleep"}})), expected);
        assert_eq!(
            uri(json!({"metadata": {"generateName": "sleep-"}})),
            expected
        );
    }
}
