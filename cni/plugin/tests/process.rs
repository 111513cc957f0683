//! The program as a container runtime calls it, with an agent that says what the test wants.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread::JoinHandle,
};

use rstest::rstest;
use serde_json::{Value, json};
use tempfile::TempDir;

const PREVIOUS: &str = r#"{"cniVersion":"1.0.0",  "ips":[{"address":"10.0.0.5/24"}],"dns":{}}"#;

struct Node {
    dir: TempDir,
}

impl Node {
    fn new() -> Self {
        Self {
            dir: TempDir::new().unwrap(),
        }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("agent.sock")
    }

    /// Answers one request; the handle gives what was asked.
    fn agent(&self, answer: Value) -> JoinHandle<Value> {
        let listener = UnixListener::bind(self.socket()).unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
            writeln!(stream, "{answer}").unwrap();
            serde_json::from_str(&line).unwrap()
        })
    }

    fn configuration(&self, version: &str) -> String {
        format!(
            r#"{{"cniVersion":"{version}","name":"pods","type":"weft-cni","socket":{:?},
                "excludeNamespaces":["kube-system"],"agentNamespace":"istio-system","prevResult":{PREVIOUS}}}"#,
            self.socket()
        )
    }

    fn add(&self, namespace: &str) -> (bool, String) {
        let args = format!(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME=shop-1;K8S_POD_INFRA_CONTAINER_ID=c;K8S_POD_UID=u-1"
        );
        let environment = [
            ("CNI_COMMAND", "ADD"),
            ("CNI_CONTAINERID", "c"),
            ("CNI_IFNAME", "eth0"),
            ("CNI_NETNS", "/proc/self/ns/net"),
            ("CNI_ARGS", &args),
        ];
        call(&environment, &self.configuration("1.0.0"))
    }
}

fn call(environment: &[(&str, &str)], input: &str) -> (bool, String) {
    let mut child = Command::new(Path::new(env!("CARGO_BIN_EXE_weft-cni")))
        .env_clear()
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    (
        output.status.success(),
        String::from_utf8(output.stdout).unwrap(),
    )
}

fn error(output: &str) -> (u64, String) {
    let error: Value = serde_json::from_str(output).unwrap();
    let message = error["msg"].as_str().unwrap().to_owned();
    (error["code"].as_u64().unwrap(), message)
}

#[rstest]
#[case::captured(json!({"result": "captured"}))]
#[case::skipped(json!({"result": "skipped", "reason": "not injected"}))]
#[case::a_newer_agent(json!({"result": "captured", "since": "tomorrow"}))]
fn add_hands_the_previous_result_on_unchanged(#[case] answer: Value) {
    let node = Node::new();
    let agent = node.agent(answer);
    assert_eq!(node.add("shop"), (true, PREVIOUS.to_owned()));
    let expected = json!({"namespace": "shop", "name": "shop-1", "uid": "u-1"});
    assert_eq!(agent.join().unwrap(), expected);
}

#[test]
fn add_fails_with_the_agents_reason() {
    let node = Node::new();
    let agent = node.agent(json!({"result": "failed", "error": "no nft"}));
    let (succeeded, output) = node.add("shop");
    agent.join().unwrap();
    assert!(!succeeded);
    let expected = "weft-cni: pod \"shop/shop-1\": no nft".to_owned();
    assert_eq!(error(&output), (100, expected));
}

#[test]
fn without_an_agent_a_pod_of_the_mesh_does_not_start() {
    let node = Node::new();
    let (succeeded, output) = node.add("shop");
    assert!(!succeeded);
    let (code, message) = error(&output);
    assert_eq!(code, 11);
    assert!(
        message.contains("waits for the mesh's node agent"),
        "{message}"
    );
    assert!(message.contains("No such file or directory"), "{message}");
}

#[test]
fn an_agent_that_dies_while_asked_is_no_agent() {
    let node = Node::new();
    let listener = UnixListener::bind(node.socket()).unwrap();
    let agent = std::thread::spawn(move || drop(listener.accept().unwrap()));
    let (succeeded, output) = node.add("shop");
    agent.join().unwrap();
    assert!(!succeeded);
    assert_eq!(error(&output).0, 11);
}

#[rstest]
#[case::excluded("kube-system")]
#[case::of_the_agent("istio-system")]
fn without_an_agent_what_the_cluster_and_the_agent_need_starts(#[case] namespace: &str) {
    assert_eq!(Node::new().add(namespace), (true, PREVIOUS.to_owned()));
}

#[test]
fn excluded_namespaces_do_not_even_ask() {
    let node = Node::new();
    let _listener = UnixListener::bind(node.socket()).unwrap();
    assert_eq!(node.add("kube-system"), (true, PREVIOUS.to_owned()));
}

#[test]
fn containers_that_are_no_pods_pass() {
    let node = Node::new();
    let environment = [("CNI_COMMAND", "ADD"), ("CNI_NETNS", "/proc/self/ns/net")];
    let (succeeded, output) = call(&environment, &node.configuration("1.0.0"));
    assert_eq!((succeeded, output.as_str()), (true, PREVIOUS));
}

#[rstest]
#[case("DEL")]
#[case("CHECK")]
#[case("GC")]
#[case("STATUS")]
fn the_rest_succeeds_without_an_agent(#[case] command: &str) {
    let node = Node::new();
    let environment = [("CNI_COMMAND", command)];
    let answer = call(&environment, &node.configuration("1.1.0"));
    assert_eq!(answer, (true, String::new()));
}

#[rstest]
#[case("0.4.0", "0.4.0")]
#[case("1.1.0", "1.1.0")]
#[case("9.0.0", "1.1.0")]
fn versions(#[case] asked: &str, #[case] answered: &str) {
    let input = json!({"cniVersion": asked}).to_string();
    let (succeeded, output) = call(&[("CNI_COMMAND", "VERSION")], &input);
    assert!(succeeded);
    let expected = json!({
        "cniVersion": answered,
        "supportedVersions": ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"],
    });
    assert_eq!(serde_json::from_str::<Value>(&output).unwrap(), expected);
}

#[rstest]
#[case::version(r#"{"cniVersion": "0.2.0", "socket": "/s"}"#, 1)]
#[case::not_json("ADD", 6)]
#[case::no_socket(r#"{"cniVersion": "1.0.0"}"#, 6)]
#[case::first_in_the_chain(r#"{"cniVersion": "1.0.0", "socket": "/s"}"#, 7)]
fn configurations_that_cannot_work(#[case] input: &str, #[case] code: u64) {
    let (succeeded, output) = call(&[("CNI_COMMAND", "ADD")], input);
    assert!(!succeeded);
    assert_eq!(error(&output).0, code, "{output}");
}

#[test]
fn a_person_who_runs_it_is_told_what_it_is() {
    let (succeeded, output) = call(&[], "");
    assert!(!succeeded);
    let (code, message) = error(&output);
    assert_eq!(code, 4);
    assert!(message.contains("container runtimes call this program"));
}
