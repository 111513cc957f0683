//! The whole agent from start to end, on a node that is a few directories.

#[path = "support/api.rs"]
mod api;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use cni::app::Agent;
use cni::args::Args;
use http::Method;
use mesh_runtime::log::LogHandle;
use rstest::rstest;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use api::{Answer, Seen, refuse};

const DAEMON_SET: &str = "/apis/apps/v1/namespaces/istio-system/daemonsets/weft-cni-node";

struct Node(TempDir);

impl Node {
    fn new() -> Self {
        let node = Self(TempDir::new().unwrap());
        for directory in ["bin", "net.d", "run"] {
            fs::create_dir(node.path(directory)).unwrap();
        }
        fs::write(node.path("weft-cni"), "program").unwrap();
        node
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn args(&self, more: &[&str]) -> Args {
        let path = |path: &str| self.path(path).display().to_string();
        let mut args = vec![
            "weft-cni-agent".to_owned(),
            "--node-name=node".to_owned(),
            "--http-address=127.0.0.1:0".to_owned(),
        ];
        for (flag, directory) in [
            ("--plugin", "weft-cni"),
            ("--bin-dir", "bin"),
            ("--conf-dir", "net.d"),
            ("--run-dir", "run"),
        ] {
            args.push(format!("{flag}={}", path(directory)));
        }
        args.extend(more.iter().map(|arg| (*arg).to_owned()));
        Args::parse_from(args)
    }

    fn network(&self) {
        let list = json!({"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "ptp"}]});
        fs::write(self.path("net.d/10-pods.conflist"), list.to_string()).unwrap();
    }

    /// The plugins that the container runtime would call.
    fn chain(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("net.d/10-pods.conflist")).unwrap();
        let list: Value = serde_json::from_str(&text).unwrap();
        let plugins = list["plugins"].as_array().unwrap().iter();
        let types = plugins.map(|plugin| plugin["type"].as_str().unwrap().to_owned());
        types.collect()
    }
}

async fn get(agent: &Agent, path: &str) -> String {
    let mut stream = TcpStream::connect(agent.http_address()).await.unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Runs until the plugin is in place, and then to the end, when the API server says `about_itself`.
async fn run_to_the_end(node: &Node, about_itself: impl Fn() -> Answer + Send + Sync + 'static) {
    let (client, _changes) = api::serve(move |seen| match seen.path.as_str() {
        DAEMON_SET => about_itself(),
        _ => api::pods(None, seen),
    });
    let agent = Agent::start(node.args(&[]), client, LogHandle::detached());
    let agent = agent.await.unwrap();
    let readiness = agent.readiness();
    readiness.wait().await;
    assert_eq!(node.chain(), ["ptp", "weft-cni"]);
    assert!(node.path("run/agent.sock").exists());
    agent.run(async {}).await.unwrap();
}

#[tokio::test]
async fn the_agent_is_ready_once_the_plugin_is_in_place() {
    let node = Node::new();
    let (client, _changes) = api::serve(|seen| api::pods(None, seen));
    let agent = Agent::start(node.args(&[]), client, LogHandle::detached());
    let agent = agent.await.unwrap();
    let answer = get(&agent, "/ready").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(
        answer.contains("the plugin in the node's network"),
        "{answer}"
    );
    node.network();
    agent.readiness().wait().await;
    let answer = get(&agent, "/ready").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let answer = get(&agent, "/metrics").await;
    assert!(answer.contains("istio_cni_install_ready 1\n"), "{answer}");
    agent.run(async {}).await.unwrap();
}

#[rstest]
#[case::upgraded(Some((200, json!({"metadata": {"name": "weft-cni-node"}}))), true)]
#[case::deleted(
    Some((200, json!({"metadata": {"name": "weft-cni-node", "deletionTimestamp": "2026-01-01T00:00:00Z"}}))),
    false
)]
#[case::gone(refuse(404, "NotFound"), false)]
#[case::role_is_gone(refuse(403, "Forbidden"), false)]
#[case::account_is_gone(refuse(401, "Unauthorized"), false)]
#[case::nobody_knows(refuse(500, "InternalError"), true)]
#[tokio::test]
async fn the_plugin_stays_unless_the_agent_is_uninstalled(
    #[case] about_itself: Answer,
    #[case] stays: bool,
) {
    let node = Node::new();
    node.network();
    run_to_the_end(&node, move || about_itself.clone()).await;
    let expected: &[&str] = if stays {
        &["ptp", "weft-cni"]
    } else {
        &["ptp"]
    };
    assert_eq!(node.chain(), expected);
    assert_eq!(node.path("bin/weft-cni").exists(), stays);
    assert_eq!(node.path("run/agent.sock").exists(), stays);
}

/// A pod that has started without capture.
fn broken() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "app", "namespace": "shop", "uid": "u-1", "resourceVersion": "7",
            "annotations": {"sidecar.istio.io/status": "{}"},
        },
        "spec": {"nodeName": "node", "containers": [{"name": "istio-proxy", "args": ["sidecar"]}]},
        "status": {"initContainerStatuses": [{
            "name": "istio-validation", "image": "proxy", "imageID": "", "ready": false, "restartCount": 1,
            "state": {"terminated": {"exitCode": 126}},
        }]},
    })
}

/// What an agent with `flags` changes in a cluster with such a pod, first.
async fn first_change(flags: &[&str]) -> Seen {
    let node = Node::new();
    let (client, mut changes) = api::serve(|seen| api::pods(Some(&broken()), seen));
    let agent = Agent::start(node.args(flags), client, LogHandle::detached());
    let _agent = agent.await.unwrap();
    let change = tokio::time::timeout(Duration::from_secs(20), changes.recv());
    change.await.expect("the pod is dealt with").unwrap()
}

#[tokio::test]
async fn a_broken_pod_is_deleted_if_it_is_still_the_same() {
    let change = first_change(&["--repair-pods=false", "--repair-delete-pods=true"]).await;
    assert_eq!(change.method, Method::DELETE);
    assert_eq!(change.path, "/api/v1/namespaces/shop/pods/app");
    let expected = json!({"uid": "u-1", "resourceVersion": "7"});
    assert_eq!(change.body["preconditions"], expected);
}

#[tokio::test]
async fn a_broken_pod_is_labelled() {
    let change = first_change(&["--repair-pods=false", "--repair-label-pods=true"]).await;
    assert_eq!(change.method, Method::PATCH);
    assert_eq!(change.path, "/api/v1/namespaces/shop/pods/app/status");
    let label = json!({"cni.istio.io/uninitialized": "true"});
    assert_eq!(change.body, json!({"metadata": {"labels": label}}));
}

#[tokio::test]
async fn what_cannot_be_repaired_is_told() {
    // The runtime keeps namespaces elsewhere.
    let change = first_change(&["--netns-dir=/nowhere"]).await;
    assert_eq!(change.method, Method::POST);
    assert_eq!(change.path, "/apis/events.k8s.io/v1/namespaces/shop/events");
    assert_eq!(change.body["reason"], "RepairBrokenPod");
    let note = change.body["note"].as_str().unwrap();
    assert!(note.contains("it has no address yet"), "{note}");
}

#[tokio::test]
async fn the_agent_ends_when_an_essential_part_fails() {
    let node = Node::new();
    fs::remove_dir(node.path("net.d")).unwrap();
    let (client, _changes) = api::serve(|seen| api::pods(None, seen));
    let agent = Agent::start(node.args(&[]), client, LogHandle::detached());
    let (_never, shutdown) = oneshot::channel::<()>();
    let ended = agent.await.unwrap().run(async {
        let _ = shutdown.await;
    });
    let error = ended.await.unwrap_err().to_string();
    assert!(error.contains("cannot watch"), "{error}");
}
