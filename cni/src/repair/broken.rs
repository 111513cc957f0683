//! How a pod that started without capture is known.

use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};

use crate::decide::STATUS;

/// What tells that a pod is broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// The init container that checks for capture.
    pub init_container: String,
    /// Its exit code where there is none.
    pub exit_code: i32,
}

impl Filter {
    /// Whether `pod` started without capture and still waits for it.
    pub fn matches(&self, pod: &Pod) -> bool {
        let annotations = pod.metadata.annotations.as_ref();
        let injected = annotations.is_some_and(|annotations| annotations.contains_key(STATUS));
        let going = pod.metadata.deletion_timestamp.is_some();
        let status = pod.status.as_ref();
        let statuses = status.and_then(|status| status.init_container_statuses.as_ref());
        let mut checks = statuses.into_iter().flatten();
        injected
            && !going
            && checks.any(|check| check.name == self.init_container && self.failed(check))
    }

    /// A check that succeeded in the end has no say any more, whatever it said before.
    fn failed(&self, check: &ContainerStatus) -> bool {
        let terminated = |state: &Option<_>| -> Option<i32> {
            let state: &k8s_openapi::api::core::v1::ContainerState = state.as_ref()?;
            let ended: &ContainerStateTerminated = state.terminated.as_ref()?;
            Some(ended.exit_code)
        };
        let now = terminated(&check.state);
        let before = terminated(&check.last_state);
        now.or(before) == Some(self.exit_code)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn ended(code: i32) -> Value {
        json!({"terminated": {"exitCode": code}})
    }

    fn pod(name: &str, state: Value, last: Value) -> Value {
        json!({
            "metadata": {"annotations": {STATUS: "{}"}},
            "status": {"initContainerStatuses": [{
                "name": name, "image": "", "imageID": "", "ready": false, "restartCount": 1,
                "state": state, "lastState": last,
            }]},
        })
    }

    fn is_broken(pod: Value) -> bool {
        let filter = Filter {
            init_container: "istio-validation".to_owned(),
            exit_code: 126,
        };
        filter.matches(&serde_json::from_value(pod).unwrap())
    }

    #[rstest]
    #[case::just_now(ended(126), json!({}), true)]
    #[case::crash_loop(json!({"waiting": {"reason": "CrashLoopBackOff"}}), ended(126), true)]
    #[case::tries_again(json!({"running": {}}), ended(126), true)]
    #[case::succeeded_at_last(ended(0), ended(126), false)]
    #[case::something_else(ended(1), json!({}), false)]
    #[case::something_else_now(ended(1), ended(126), false)]
    #[case::first_start(json!({"waiting": {}}), json!({}), false)]
    fn the_check_has_failed(#[case] state: Value, #[case] last: Value, #[case] broken: bool) {
        assert_eq!(is_broken(pod("istio-validation", state, last)), broken);
    }

    #[test]
    fn other_containers_and_other_pods_are_none_of_ours() {
        assert!(!is_broken(pod("setup", ended(126), json!({}))));
        let mut not_injected = pod("istio-validation", ended(126), json!({}));
        not_injected["metadata"] = json!({});
        assert!(!is_broken(not_injected));
        let mut going = pod("istio-validation", ended(126), json!({}));
        going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert!(!is_broken(going));
        assert!(!is_broken(json!({"metadata": {}})));
    }
}
