//! The plugin on a node that is a few directories.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use rstest::rstest;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

struct Node(TempDir);

impl Node {
    fn new() -> Self {
        let node = Self(TempDir::new().unwrap());
        for directory in ["bin", "net.d"] {
            fs::create_dir(node.path(directory)).unwrap();
        }
        fs::write(node.path("weft-cni"), "program 1").unwrap();
        node
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn installer(&self, conf_name: Option<&str>) -> Installer {
        let layout = Layout {
            program: self.path("weft-cni"),
            bin_dir: self.path("bin"),
            conf_dir: self.path("net.d"),
            conf_name: conf_name.map(str::to_owned),
        };
        let settings = Settings {
            socket: "/run/weft-cni/agent.sock".into(),
            exclude_namespaces: vec!["kube-system".to_owned()],
            agent_namespace: "istio-system".to_owned(),
        };
        Installer::new(layout, settings, Metrics::default())
    }

    fn network(&self, file: &str, content: &Value) {
        fs::write(self.path("net.d").join(file), content.to_string()).unwrap();
    }

    fn read(&self, file: &str) -> Value {
        let text = fs::read_to_string(self.path("net.d").join(file)).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("net.d")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }
}

/// A provider's list, with things that are none of our business.
fn provided() -> Value {
    json!({
        "cniVersion": "1.0.0", "name": "pods", "disableCheck": true,
        "plugins": [{"type": "ptp", "ipam": {"mtu": 1.5}}, {"type": "portmap", "capabilities": {"portMappings": true}}],
    })
}

fn chained() -> Value {
    let mut list = provided();
    list["plugins"].as_array_mut().unwrap().push(json!({
        "type": "weft-cni",
        "socket": "/run/weft-cni/agent.sock",
        "excludeNamespaces": ["kube-system"],
        "agentNamespace": "istio-system",
    }));
    list
}

#[test]
fn the_plugin_joins_the_first_network_and_leaves_again() {
    let node = Node::new();
    node.network("00-notes.txt", &json!({}));
    node.network("01-broken.conflist", &json!({"plugins": []}));
    node.network("10-pods.conflist", &provided());
    node.network("20-other.conflist", &provided());
    let installer = node.installer(None);

    assert_eq!(installer.put_right().unwrap(), Found::PutRight);
    assert_eq!(node.read("10-pods.conflist"), chained());
    assert_eq!(node.read("20-other.conflist"), provided());
    let program = node.path("bin/weft-cni");
    assert_eq!(fs::read_to_string(&program).unwrap(), "program 1");
    let mode = fs::metadata(&program).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
    assert_eq!(installer.put_right().unwrap(), Found::InPlace);

    installer.remove().unwrap();
    assert_eq!(node.read("10-pods.conflist"), provided());
    assert!(!program.exists());
    installer.remove().unwrap();
    assert_eq!(node.files().len(), 4, "{:?}", node.files());
}

#[test]
fn what_others_break_is_put_right() {
    let node = Node::new();
    node.network("10-pods.conflist", &provided());
    let installer = node.installer(None);
    installer.put_right().unwrap();

    // The provider writes its file anew, or removes the programs, or an older plugin is there.
    node.network("10-pods.conflist", &provided());
    assert_eq!(installer.put_right().unwrap(), Found::PutRight);
    fs::remove_file(node.path("bin/weft-cni")).unwrap();
    assert_eq!(installer.put_right().unwrap(), Found::PutRight);
    fs::write(node.path("weft-cni"), "program 2").unwrap();
    assert_eq!(installer.put_right().unwrap(), Found::PutRight);
    let program = fs::read_to_string(node.path("bin/weft-cni")).unwrap();
    assert_eq!(program, "program 2");
    // Another provider's file comes first now.
    node.network("05-first.conflist", &provided());
    assert_eq!(installer.put_right().unwrap(), Found::PutRight);
    assert_eq!(node.read("05-first.conflist"), chained());
}

#[test]
fn an_entry_with_other_settings_is_replaced_where_it_stands() {
    let node = Node::new();
    let mut list = chained();
    list["plugins"][2]["socket"] = json!("/elsewhere");
    list["plugins"]
        .as_array_mut()
        .unwrap()
        .push(json!({"type": "last"}));
    node.network("10-pods.conflist", &list);
    node.installer(None).put_right().unwrap();
    let mut expected = chained();
    expected["plugins"]
        .as_array_mut()
        .unwrap()
        .push(json!({"type": "last"}));
    assert_eq!(node.read("10-pods.conflist"), expected);
}

#[test]
fn a_single_configuration_becomes_a_list() {
    let node = Node::new();
    let single = json!({"cniVersion": "0.2.0", "name": "single", "type": "bridge", "mtu": 1400});
    node.network("10-single.conf", &single);
    for name in [None, Some("10-single.conf")] {
        let installer = node.installer(name);
        installer.put_right().unwrap();
        assert_eq!(installer.put_right().unwrap(), Found::InPlace);
        assert_eq!(node.files(), ["10-single.conflist"]);
    }
    let list = node.read("10-single.conflist");
    assert_eq!(list["cniVersion"], "0.3.1");
    assert_eq!(list["name"], "single");
    assert_eq!(list["plugins"][0], json!({"type": "bridge", "mtu": 1400}));
    assert_eq!(list["plugins"][1]["type"], "weft-cni");
}

#[test]
fn the_operator_may_choose_the_network() {
    let node = Node::new();
    node.network("10-pods.conflist", &provided());
    node.network("20-other.conflist", &provided());
    node.installer(Some("20-other.conflist"))
        .put_right()
        .unwrap();
    assert_eq!(node.read("10-pods.conflist"), provided());
    assert_eq!(node.read("20-other.conflist"), chained());
}

#[rstest]
#[case(None)]
#[case(Some("10-pods.conflist"))]
fn a_node_without_a_network_is_waited_for(#[case] name: Option<&str>) {
    let node = Node::new();
    let installer = node.installer(name);
    assert_eq!(installer.put_right().unwrap(), Found::NoNetwork);
    node.network("10-pods.conflist", &provided());
    assert_eq!(installer.put_right().unwrap(), Found::PutRight);
}

#[tokio::test]
async fn the_agent_is_ready_while_the_plugin_is_in_place() {
    let node = Node::new();
    let readiness = Readiness::new();
    let (signal, drain) = mesh_runtime::drain::channel();
    let running = tokio::spawn(node.installer(None).run(readiness.clone(), drain));
    assert_eq!(readiness.pending(), [WAITING]);
    node.network("10-pods.conflist", &provided());
    readiness.wait().await;
    assert_eq!(node.read("10-pods.conflist"), chained());
    signal.start();
    running.await.unwrap().unwrap();
}
