//! The `helm` command.

use std::{
    ffi::OsString,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use tokio::process::Command;

use crate::cluster::access::ClusterArgs;

/// For rendering without a cluster: the oldest Kubernetes that the charts accept. What Helm takes by itself depends
/// on how it was built.
pub const KUBE_VERSION: &str = "--kube-version=1.29.0";

/// The command, and the cluster it works on.
#[derive(Debug, Clone)]
pub struct Helm {
    program: PathBuf,
    cluster: Vec<OsString>,
    namespace: String,
}

/// A release as `helm list` tells it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Installed {
    /// Its name.
    pub name: String,
    /// `deployed`, `failed`, `pending-install` and the like.
    pub status: String,
    /// Chart and version.
    pub chart: String,
}

impl Helm {
    /// The command for a cluster; `program` instead of the one in `PATH`.
    pub fn new(program: Option<&Path>, cluster: &ClusterArgs) -> Self {
        let mut args: Vec<OsString> = Vec::new();
        if let Some(file) = &cluster.kubeconfig {
            args.extend(["--kubeconfig".into(), file.into()]);
        }
        if let Some(context) = &cluster.context {
            args.extend(["--kube-context".into(), context.into()]);
        }
        Self {
            program: program.unwrap_or(Path::new("helm")).to_owned(),
            cluster: args,
            namespace: cluster.istio_namespace.clone(),
        }
    }

    /// Whether there is such a command.
    pub async fn check(&self) -> Result<()> {
        self.output(&["version".into(), "--short".into()]).await?;
        Ok(())
    }

    /// Runs `helm ARGS`, and returns what it printed.
    pub async fn run<A: Into<OsString> + Clone>(&self, args: &[A]) -> Result<String> {
        let mut all: Vec<OsString> = args.iter().cloned().map(Into::into).collect();
        all.extend(["--namespace".into(), OsString::from(&self.namespace)]);
        all.extend(self.cluster.iter().cloned());
        self.output(&all).await
    }

    /// The releases in the control plane's namespace.
    pub async fn releases(&self) -> Result<Vec<Installed>> {
        let list = self.run(&["list", "--all", "--output", "json"]).await?;
        serde_json::from_str(&list).context("helm's list of releases")
    }

    async fn output(&self, args: &[OsString]) -> Result<String> {
        let output = Command::new(&self.program)
            .args(args)
            .kill_on_drop(true)
            .output()
            .await;
        let output = match output {
            Err(error) if error.kind() == ErrorKind::NotFound => bail!(
                "there is no \"{}\": install Helm 3.14 or later (https://helm.sh/docs/intro/install), or name it with \
                 --helm PATH",
                self.program.display()
            ),
            output => output.context("helm does not run")?,
        };
        if !output.status.success() {
            let message = String::from_utf8_lossy(&output.stderr);
            let message = message.trim().trim_start_matches("Error: ");
            bail!(
                "helm {}: {message}",
                args.first()
                    .map(|arg| arg.to_string_lossy())
                    .unwrap_or_default()
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
