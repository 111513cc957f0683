//! Where a mesh runs: the few things that the suite asks of it.

pub mod kubernetes;
pub mod local;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, ensure};

use crate::args::Args;

/// The namespace of the control plane and of the gateway.
pub const SYSTEM: &str = "istio-system";

/// A mesh's surroundings.
pub trait Cluster {
    /// Applies a manifest.
    fn apply(&self, manifest: &Path) -> Result<()>;
    /// Tries to apply a manifest, and returns what was said about it.
    fn try_apply(&self, manifest: &Path) -> Result<Said>;
    /// What the analysis of all objects of the mesh says.
    fn analyze(&self) -> Result<Said>;
    /// Deletes what a manifest names; what is not there is no error.
    fn delete(&self, manifest: &Path) -> Result<()>;
    /// Pods of all namespaces.
    fn pods(&self) -> Result<Vec<Pod>>;
    /// Starts a command in a pod's application container, with pipes for its output.
    fn exec(&self, pod: &Pod, command: &[String]) -> Result<Child>;
    /// Starts a client on this machine, with pipes for its output.
    fn here(&self, command: &[String]) -> Result<Child>;
    /// The log of a container.
    fn logs(&self, pod: &Pod, container: &str) -> Result<String>;
    /// Runs `meshctl` and returns its output whatever its exit status.
    fn meshctl(&self, args: &[&str]) -> Result<Said>;
    /// Ends the control plane's process at once, with SIGKILL, and keeps it from coming back.
    fn stop_control_plane(&self) -> Result<()>;
    /// Lets the control plane come back.
    fn start_control_plane(&self) -> Result<()>;
    /// Begins to replace the pods of a deployment by new ones.
    fn restart(&self, namespace: &str, deployment: &str) -> Result<()>;
    /// Runs `kubectl` or `helm` and returns its output whatever its exit status.
    fn tool(&self, program: &str, args: &[&str]) -> Result<Said>;
    /// Where the ingress gateway is reached from this machine, without a path.
    fn ingress(&self) -> String;
    /// The directory from which the mesh reads its configuration, where it reads files.
    fn watched_dir(&self) -> Option<&Path>;
    /// Ends the mesh.
    fn down(&self) -> Result<()>;
}

/// One pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its address.
    pub ip: String,
    /// The node where it runs; empty where it has none yet, or there is one only.
    pub node: String,
    /// Whether all its containers are ready.
    pub ready: bool,
    /// Whether it is on its way out.
    pub terminating: bool,
    /// Whether all its containers have ended well.
    pub succeeded: bool,
    /// The revision of the control plane that injected it.
    pub revision: Option<String>,
    /// Its containers' names, the application's first.
    pub containers: Vec<String>,
}

/// What a command said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Whether it exited with 0.
    pub success: bool,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Said {
    /// Standard output, if the command succeeded.
    pub fn ok(self) -> Result<String> {
        ensure!(self.success, "{}{}", self.err, self.out);
        Ok(self.out)
    }

    /// Both outputs, if the command failed.
    pub fn refused(self) -> Result<String> {
        ensure!(!self.success, "it should be refused: {}", self.out);
        Ok(format!("{}{}", self.err, self.out))
    }
}

/// The pods of a Kubernetes list in JSON.
pub fn pods_from_json(text: &str) -> Result<Vec<Pod>> {
    let list: serde_json::Value = serde_json::from_str(text).context("pods are not JSON")?;
    let items = match &list {
        serde_json::Value::Array(items) => items,
        list => list["items"].as_array().context("pods are not a list")?,
    };
    Ok(items.iter().map(pod_from_json).collect())
}

fn pod_from_json(pod: &serde_json::Value) -> Pod {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let conditions = pod["status"]["conditions"].as_array();
    let is_ready = |condition: &serde_json::Value| {
        condition["type"] == "Ready" && condition["status"] == "True"
    };
    let listed = |field: &str| pod["spec"][field].as_array().into_iter().flatten();
    // An init container that is restarted is a sidecar.
    let sidecars = listed("initContainers").filter(|init| init["restartPolicy"] == "Always");
    let mut containers: Vec<String> = listed("containers")
        .chain(sidecars)
        .map(|container| text(&container["name"]))
        .collect();
    // The injector may put the proxy first.
    containers.sort_by_key(|name| name == "istio-proxy");
    Pod {
        namespace: text(&pod["metadata"]["namespace"]),
        name: text(&pod["metadata"]["name"]),
        ip: text(&pod["status"]["podIP"]),
        node: text(&pod["spec"]["nodeName"]),
        ready: conditions.into_iter().flatten().any(is_ready),
        terminating: !pod["metadata"]["deletionTimestamp"].is_null(),
        succeeded: pod["status"]["phase"] == "Succeeded",
        revision: pod["metadata"]["annotations"]["istio.io/rev"]
            .as_str()
            .map(str::to_owned),
        containers,
    }
}

/// The directory of the mesh's binaries, all of which are there.
fn bin_dir(args: &Args) -> Result<PathBuf> {
    let dir = fs::canonicalize(&args.bin_dir)
        .with_context(|| format!("no directory \"{}\"", args.bin_dir.display()))?;
    for program in ["meshctl", "meshd", "weft-proxy", "testapp", "bookinfo"] {
        let path = dir.join(program);
        ensure!(path.is_file(), "\"{}\" is not built", path.display());
    }
    Ok(dir)
}

/// Starts a client on this machine.
fn here(bin_dir: &Path, command: &[String]) -> Result<Child> {
    let mut client = Command::new(bin_dir.join("testapp"));
    client.arg("client").args(command).stdin(Stdio::null());
    piped(client)
}

fn said(mut command: Command) -> Result<Said> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .with_context(|| format!("cannot run \"{program}\""))?;
    Ok(Said {
        success: output.status.success(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

fn piped(mut command: Command) -> Result<Child> {
    let program = command.get_program().to_string_lossy().into_owned();
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run \"{program}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_are_read_from_a_list() {
        let text = r#"{"items": [{
            "metadata": {"namespace": "apps", "name": "echo-v1-1"},
            "spec": {"nodeName": "worker", "containers": [{"name": "istio-proxy"}, {"name": "echo"}]},
            "status": {"podIP": "10.244.0.7", "conditions": [{"type": "Ready", "status": "True"}]}
        }]}"#;
        let expected = Pod {
            namespace: "apps".to_owned(),
            name: "echo-v1-1".to_owned(),
            ip: "10.244.0.7".to_owned(),
            node: "worker".to_owned(),
            ready: true,
            terminating: false,
            succeeded: false,
            revision: None,
            containers: vec!["echo".to_owned(), "istio-proxy".to_owned()],
        };
        assert_eq!(pods_from_json(text).unwrap(), [expected]);
    }

    #[test]
    fn a_native_sidecar_is_a_container() {
        let text = r#"{"items": [{"spec": {
            "initContainers": [
                {"name": "istio-init"},
                {"name": "istio-proxy", "restartPolicy": "Always"}
            ],
            "containers": [{"name": "echo"}]
        }}]}"#;
        let pods = pods_from_json(text).unwrap();
        assert_eq!(pods[0].containers, ["echo", "istio-proxy"]);
    }
}
