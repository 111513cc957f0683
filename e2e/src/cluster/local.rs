//! A mesh on this machine, through `meshctl local`.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, bail};

use super::{Cluster, Pod, Said, bin_dir, here, piped, pods_from_json, said};
use crate::args::{Args, DataPlane};

/// A running local mesh.
pub struct Local {
    bin_dir: PathBuf,
    name: String,
    ingress_port: u16,
    /// The directory that it was started with; whoever attaches does not know it.
    manifests: Option<PathBuf>,
}

impl Local {
    /// Starts a mesh with the manifests in `dir`.
    pub fn up(args: &Args, data_plane: DataPlane, dir: &Path) -> Result<Self> {
        let local = Self {
            bin_dir: bin_dir(args)?,
            name: format!("e2e-{}", data_plane.name()),
            ingress_port: free_port()?,
            manifests: Some(dir.to_owned()),
        };
        // Which pods differ from the mesh's data plane is in their own annotations.
        let proxy = match data_plane {
            DataPlane::Weft | DataPlane::Mixed => "weft",
            DataPlane::Envoy => "envoy",
        };
        let mut command = local.meshctl_command();
        command.args(["local", "up"]).arg(dir).arg("--detach");
        command.args(["--proxy", proxy, "--name", &local.name]);
        command.args(["--ingress-port", &local.ingress_port.to_string()]);
        if let Some(envoy) = &args.envoy {
            command.env("WEFT_ENVOY", envoy);
        }
        let said = said(command)?;
        if said.success {
            return Ok(local);
        }
        // Who is not ready, and why, is gone with the mesh.
        let pods = local.local("get", &["pods", "-A"]).map(|said| said.out);
        if !args.keep {
            let _ = local.down();
        }
        bail!("{}{}", said.err, pods.unwrap_or_default())
    }

    /// A mesh that somebody else started.
    pub fn attach(args: &Args, name: &str) -> Result<Self> {
        Ok(Self {
            bin_dir: bin_dir(args)?,
            name: name.to_owned(),
            ingress_port: args.ingress_port,
            manifests: None,
        })
    }

    fn meshctl_command(&self) -> Command {
        let mut command = Command::new(self.bin_dir.join("meshctl"));
        command.stdin(Stdio::null());
        command
    }

    fn local(&self, command: &str, args: &[&str]) -> Result<Said> {
        let mut meshctl = self.meshctl_command();
        meshctl
            .args(["local", command, "--name", &self.name])
            .args(args);
        said(meshctl)
    }
}

impl Cluster for Local {
    fn apply(&self, manifest: &Path) -> Result<()> {
        self.try_apply(manifest)?.ok().map(drop)
    }

    fn try_apply(&self, manifest: &Path) -> Result<Said> {
        self.local("apply", &["-f", &manifest.to_string_lossy()])
    }

    fn analyze(&self) -> Result<Said> {
        self.meshctl(&["analyze"])
    }

    fn delete(&self, manifest: &Path) -> Result<()> {
        let manifest = manifest.to_string_lossy();
        self.local("delete", &["--ignore-not-found", "-f", &manifest])?
            .ok()
            .map(drop)
    }

    fn pods(&self) -> Result<Vec<Pod>> {
        let out = self
            .local("get", &["pods", "--all-namespaces", "--output", "json"])?
            .ok()?;
        pods_from_json(&out)
    }

    fn exec(&self, pod: &Pod, command: &[String]) -> Result<Child> {
        let mut meshctl = self.meshctl_command();
        meshctl.args(["local", "exec", "--name", &self.name]);
        meshctl.args(["-n", &pod.namespace, &pod.name]);
        if let Some(container) = pod.containers.first() {
            meshctl.args(["-c", container]);
        }
        meshctl.arg("--").args(command);
        piped(meshctl)
    }

    fn here(&self, command: &[String]) -> Result<Child> {
        here(&self.bin_dir, command)
    }

    fn logs(&self, pod: &Pod, container: &str) -> Result<String> {
        self.local("logs", &["-n", &pod.namespace, &pod.name, "-c", container])?
            .ok()
    }

    fn meshctl(&self, args: &[&str]) -> Result<Said> {
        let mut command = self.meshctl_command();
        command.args(args).env("WEFT_LOCAL_NAME", &self.name);
        said(command)
    }

    fn stop_control_plane(&self) -> Result<()> {
        self.local("stop", &["-n", "istio-system", "istiod"])?
            .ok()
            .map(drop)
    }

    fn start_control_plane(&self) -> Result<()> {
        self.local("start", &["-n", "istio-system", "istiod"])?
            .ok()
            .map(drop)
    }

    fn restart(&self, namespace: &str, deployment: &str) -> Result<()> {
        let deployment = format!("deployment/{deployment}");
        self.local("restart", &["-n", namespace, &deployment])?
            .ok()
            .map(drop)
    }

    fn tool(&self, program: &str, _args: &[&str]) -> Result<Said> {
        bail!("{program} has nothing to do with a local mesh")
    }

    fn ingress(&self) -> String {
        format!("http://127.0.0.1:{}", self.ingress_port)
    }

    fn watched_dir(&self) -> Option<&Path> {
        self.manifests.as_deref()
    }

    fn down(&self) -> Result<()> {
        self.local("down", &[])?.ok().map(drop)
    }
}

/// A port that is free now.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("no free port")?;
    Ok(listener.local_addr()?.port())
}
