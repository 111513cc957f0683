//! Any cluster behind a kubeconfig in which the mesh is installed, through `kubectl`.
//!
//! The suite takes the namespaces `default`, `apps` and `outside` for its applications, and the mesh configuration
//! for its settings; the latter is put back at the end.

mod ingress;

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{Cluster, Pod, SYSTEM, Said, bin_dir, here, piped, pods_from_json, said};
use crate::{args::Args, poll};

const CONTROL_PLANE: &str = "deployment/istiod";
const GATEWAY: &str = "deployment/istio-ingressgateway";
/// Namespaces that exist for the suite alone.
const OWN_NAMESPACES: [&str; 2] = ["apps", "outside"];
/// Namespaces whose pods are none of the mesh's.
const FOREIGN_NAMESPACES: [&str; 2] = ["kube-system", "local-path-storage"];
/// How long the injector may take to know another mesh configuration.
const SETTINGS_TIMEOUT: Duration = Duration::from_secs(60);

/// A cluster with the mesh and the suite's applications.
pub struct Kubernetes {
    bin_dir: PathBuf,
    kubeconfig: PathBuf,
    ingress: String,
    manifests: PathBuf,
    /// The mesh configuration as it was found.
    mesh_config: Value,
}

impl Kubernetes {
    /// Deploys the manifests in `dir`, which [`crate::install::write`] wrote.
    pub fn up(args: &Args, kubeconfig: &Path, dir: &Path) -> Result<Self> {
        let mut cluster = Self {
            bin_dir: bin_dir(args)?,
            kubeconfig: kubeconfig.to_owned(),
            ingress: String::new(),
            manifests: dir.to_owned(),
            mesh_config: Value::Null,
        };
        cluster
            .kubectl(&["-n", SYSTEM, "get", CONTROL_PLANE])
            .context("the mesh is not installed in this cluster")?;
        cluster.ingress = ingress::address(|args| cluster.get(args))?;
        cluster.mesh_config = cluster.get(&["-n", SYSTEM, "configmap", "istio"])?;
        if let Err(error) = cluster.deploy() {
            if !args.keep {
                let _ = cluster.down();
            }
            return Err(error);
        }
        Ok(cluster)
    }

    fn deploy(&self) -> Result<()> {
        // Pods of an earlier deployment have other settings.
        self.delete(&self.manifests.join("bookinfo.yaml"))?;
        self.apply(&self.manifests.join("base.yaml"))?;
        poll::until("settings in force", SETTINGS_TIMEOUT, || {
            let pod = self.injected()?;
            ensure!(
                pod.contains("SECRET_TTL"),
                "the injector does not know them"
            );
            Ok(())
        })?;
        // The clients of base.yaml came before the settings.
        self.kubectl(&["-n", "apps", "rollout", "restart", "deployment"])?;
        self.kubectl(&["-n", SYSTEM, "rollout", "restart", GATEWAY])?;
        self.apply(&self.manifests)?;
        self.kubectl(&["-n", SYSTEM, "rollout", "status", GATEWAY, "--timeout=120s"])
            .map(drop)
    }

    /// What becomes of a pod in the mesh, without creating it.
    fn injected(&self) -> Result<String> {
        let pod = ["run", "probe", "-n", "apps", "--image=probe"];
        let output = ["--dry-run=server", "--output=json"];
        self.kubectl(&[&pod[..], &output[..]].concat())
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env("KUBECONFIG", &self.kubeconfig)
            .stdin(Stdio::null());
        command
    }

    fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.tool("kubectl", args)?.ok()
    }

    fn get(&self, args: &[&str]) -> Result<Value> {
        let args = [&["get", "--output=json"], args].concat();
        let out = self.kubectl(&args)?;
        serde_json::from_str(&out).context("kubectl's answer is not JSON")
    }

    /// Puts the mesh configuration back, and pods of the mesh's own under it.
    fn restore(&self) -> Result<()> {
        let patch = json!({"data": self.mesh_config["data"]}).to_string();
        self.kubectl(&[
            "-n",
            SYSTEM,
            "patch",
            "configmap",
            "istio",
            "--type=merge",
            "--patch",
            &patch,
        ])?;
        self.kubectl(&["-n", SYSTEM, "rollout", "restart", GATEWAY])
            .map(drop)
    }
}

impl Cluster for Kubernetes {
    fn apply(&self, manifest: &Path) -> Result<()> {
        self.try_apply(manifest)?.ok().map(drop)
    }

    fn try_apply(&self, manifest: &Path) -> Result<Said> {
        self.tool("kubectl", &["apply", "-f", &manifest.to_string_lossy()])
    }

    fn analyze(&self) -> Result<Said> {
        self.meshctl(&["analyze"])
    }

    fn delete(&self, manifest: &Path) -> Result<()> {
        let path = manifest.to_string_lossy();
        self.kubectl(&["delete", "--ignore-not-found", "-f", &path])?;
        // Other settings of the mesh give way to the suite's, which are part of what it started with.
        match std::fs::read_to_string(manifest)?.contains("kind: ConfigMap") {
            true => self.apply(&self.manifests.join("base.yaml")),
            false => Ok(()),
        }
    }

    fn pods(&self) -> Result<Vec<Pod>> {
        // As the API server writes it: asked for ten times a second, and kubectl's own JSON costs three times as much.
        let out = self.kubectl(&["get", "--raw", "/api/v1/pods"])?;
        let mut pods = pods_from_json(&out)?;
        pods.retain(|pod| !FOREIGN_NAMESPACES.contains(&pod.namespace.as_str()));
        Ok(pods)
    }

    fn exec(&self, pod: &Pod, command: &[String]) -> Result<Child> {
        let mut kubectl = self.command("kubectl");
        kubectl.args(["exec", "-n", &pod.namespace, &pod.name]);
        if let Some(container) = pod.containers.first() {
            kubectl.args(["-c", container]);
        }
        kubectl.arg("--").args(command);
        piped(kubectl)
    }

    fn here(&self, command: &[String]) -> Result<Child> {
        here(&self.bin_dir, command)
    }

    fn logs(&self, pod: &Pod, container: &str) -> Result<String> {
        self.kubectl(&["logs", "-n", &pod.namespace, &pod.name, "-c", container])
    }

    fn meshctl(&self, args: &[&str]) -> Result<Said> {
        let mut command = self.command(self.bin_dir.join("meshctl"));
        command.args(args);
        said(command)
    }

    fn stop_control_plane(&self) -> Result<()> {
        self.kubectl(&["-n", SYSTEM, "scale", CONTROL_PLANE, "--replicas=0"])?;
        let now = ["--grace-period=0", "--force"];
        let pods = ["-n", SYSTEM, "delete", "pods", "-l", "app=istiod"];
        self.kubectl(&[&pods[..], &now[..]].concat()).map(drop)
    }

    fn start_control_plane(&self) -> Result<()> {
        self.kubectl(&["-n", SYSTEM, "scale", CONTROL_PLANE, "--replicas=1"])
            .map(drop)
    }

    fn restart(&self, namespace: &str, deployment: &str) -> Result<()> {
        let deployment = format!("deployment/{deployment}");
        self.kubectl(&["-n", namespace, "rollout", "restart", &deployment])
            .map(drop)
    }

    fn tool(&self, program: &str, args: &[&str]) -> Result<Said> {
        let mut command = self.command(program);
        command.args(args);
        said(command)
    }

    fn ingress(&self) -> String {
        self.ingress.clone()
    }

    fn watched_dir(&self) -> Option<&Path> {
        None
    }

    fn down(&self) -> Result<()> {
        self.delete(&self.manifests.join("bookinfo.yaml"))?;
        let ignore = ["delete", "--ignore-not-found"];
        self.kubectl(&[&ignore[..], &["-n", SYSTEM, "telemetry", "access-log"]].concat())?;
        self.kubectl(&[&ignore[..], &["namespace"], &OWN_NAMESPACES[..]].concat())?;
        self.restore()
    }
}
