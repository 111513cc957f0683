//! Plugin, agent and rules together, in real network namespaces: where a connection of the pod arrives.
//!
//! Each test runs itself again below `unshare`, where it may make namespaces without being anybody on the machine.

#[path = "support/api.rs"]
mod api;
#[path = "effect/node.rs"]
mod node;

use cni_plugin::error::Code;
use node::{Node, PodNetwork};
use serde_json::{Value, json};

fn injected(annotations: &Value) -> Value {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "app", "namespace": "shop", "uid": "u-1",
            "annotations": {"sidecar.istio.io/status": "{}"},
        },
        "spec": {"nodeName": "node", "containers": [
            {"name": "app", "image": "app"},
            {"name": "istio-proxy", "image": "proxy", "args": ["sidecar"]},
        ]},
        "status": {"podIP": "10.9.0.2"},
    });
    let all = pod["metadata"]["annotations"].as_object_mut().unwrap();
    all.extend(annotations.as_object().unwrap().clone());
    pod
}

#[test]
fn an_injected_pod_is_captured() {
    let Some(node) = Node::enter("an_injected_pod_is_captured") else {
        return;
    };
    let excluded = json!({"traffic.sidecar.istio.io/excludeOutboundPorts": "3306"});
    node.run(Some(injected(&excluded)), async |node| {
        let pod = PodNetwork::new();
        assert!(!pod.is_captured(80) && !pod.validates());
        let result = node.add("shop", &pod).await.unwrap();
        assert_eq!(result, node::PREVIOUS);
        assert!(pod.is_captured(80) && !pod.is_captured(3306));
        assert!(pod.validates());
        // Runtimes may ask again for the same pod.
        node.add("shop", &pod).await.unwrap();
        assert!(pod.is_captured(80));
    });
}

#[test]
fn other_pods_are_left_alone() {
    let Some(node) = Node::enter("other_pods_are_left_alone") else {
        return;
    };
    let mut pod = injected(&json!({}));
    pod["metadata"]["annotations"] = json!({});
    node.run(Some(pod), async |node| {
        let pod = PodNetwork::new();
        assert_eq!(node.add("shop", &pod).await.unwrap(), node::PREVIOUS);
        assert!(!pod.is_captured(80));
    });
}

#[test]
fn without_a_decision_the_pod_does_not_start() {
    let Some(node) = Node::enter("without_a_decision_the_pod_does_not_start") else {
        return;
    };
    node.run(None, async |node| {
        let pod = PodNetwork::new();
        let error = node.add("shop", &pod).await.unwrap_err();
        assert_eq!(error.code, Code::Refused);
        assert_eq!(
            error.message,
            "pod \"shop/app\": the pod does not exist, or no longer"
        );
    });
}

#[test]
fn a_pod_that_was_replaced_does_not_start() {
    let Some(node) = Node::enter("a_pod_that_was_replaced_does_not_start") else {
        return;
    };
    let mut pod = injected(&json!({}));
    pod["metadata"]["uid"] = json!("u-2");
    node.run(Some(pod), async |node| {
        let error = node.add("shop", &PodNetwork::new()).await.unwrap_err();
        assert!(error.message.contains("was replaced"), "{error}");
    });
}

#[test]
fn an_annotation_without_meaning_is_named() {
    let Some(node) = Node::enter("an_annotation_without_meaning_is_named") else {
        return;
    };
    let wrong = json!({"traffic.sidecar.istio.io/excludeOutboundPorts": "33o6"});
    node.run(Some(injected(&wrong)), async |node| {
        let pod = PodNetwork::new();
        let error = node.add("shop", &pod).await.unwrap_err();
        assert!(error.message.contains("excludeOutboundPorts"), "{error}");
        assert!(error.message.contains("33o6"), "{error}");
        assert!(!pod.is_captured(80));
    });
}

#[test]
fn without_an_agent_pods_of_the_mesh_do_not_start() {
    let Some(node) = Node::enter("without_an_agent_pods_of_the_mesh_do_not_start") else {
        return;
    };
    let pod = PodNetwork::new();
    let error = node.call("shop", &pod).unwrap_err();
    assert_eq!(error.code, Code::TryAgainLater);
    // What the cluster and the agent itself need starts all the same.
    assert_eq!(node.call("kube-system", &pod).unwrap(), node::PREVIOUS);
    assert_eq!(node.call("istio-system", &pod).unwrap(), node::PREVIOUS);
}

#[test]
fn a_pod_that_came_before_the_agent_is_repaired() {
    let Some(node) = Node::enter("a_pod_that_came_before_the_agent_is_repaired") else {
        return;
    };
    let mut broken = injected(&json!({}));
    broken["status"]["initContainerStatuses"] = json!([{
        "name": "istio-validation", "image": "proxy", "imageID": "", "ready": false, "restartCount": 1,
        "state": {"terminated": {"exitCode": 126}},
    }]);
    node.run(Some(broken), async |node| {
        let (pod, _other) = (
            PodNetwork::named(node, "10.9.0.2"),
            PodNetwork::named(node, "10.9.0.3"),
        );
        assert!(!pod.is_captured(80));
        node.repair().await;
        assert!(pod.is_captured(80) && pod.validates());
    });
}
