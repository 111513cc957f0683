//! Which mesh a command talks to.
//!
//! `--kubeconfig` or `--context` mean a cluster, `--name` or `--state` a mesh on this machine. Without any of
//! them, a mesh that runs on this machine is meant; where none runs, the cluster of `KUBECONFIG` or
//! `~/.kube/config`.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use kube::config::{KubeConfigOptions, Kubeconfig};
use local::{cleanup, client::Client, state::StateDir};

use super::{Cluster, LocalCluster, Pod, kubernetes::KubernetesCluster};
use crate::output;

/// Environment variable with the name of the mesh that commands talk to.
pub const NAME_VARIABLE: &str = "WEFT_LOCAL_NAME";

/// Name of a mesh that got none.
pub const DEFAULT_NAME: &str = "default";

/// Which mesh on this machine.
#[derive(Debug, Clone, clap::Args)]
pub struct Mesh {
    /// Name of a mesh on this machine [default: default]
    #[arg(long, global = true, env = NAME_VARIABLE)]
    name: Option<String>,
    /// Directory of that mesh's state
    #[arg(long, global = true, value_name = "DIR")]
    state: Option<PathBuf>,
}

impl Mesh {
    /// Its name.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(DEFAULT_NAME)
    }

    /// The state directory that the arguments name.
    pub fn state(&self) -> Result<StateDir> {
        let legible = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        let name = self.name();
        match &self.state {
            Some(dir) => Ok(StateDir::new(std::path::absolute(dir)?)),
            None if !name.is_empty() && name.bytes().all(legible) => {
                Ok(StateDir::default_for(name))
            }
            None => bail!("\"{name}\" is not a name for a mesh: letters, digits and - only"),
        }
    }

    /// A client of the mesh's control API.
    pub fn client(&self) -> Result<Client> {
        Ok(Client::new(self.state()?))
    }

    fn is_given(&self) -> bool {
        self.name.is_some() || self.state.is_some()
    }
}

/// Which Kubernetes cluster, and where in it the control plane is.
#[derive(Debug, Clone, clap::Args)]
pub struct ClusterArgs {
    /// How to reach the cluster, instead of KUBECONFIG or ~/.kube/config
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig, instead of its current one
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
    /// Namespace of the control plane
    #[arg(
        short,
        long,
        value_name = "NAMESPACE",
        env = "ISTIO_NAMESPACE",
        default_value = "istio-system"
    )]
    pub istio_namespace: String,
}

impl ClusterArgs {
    fn is_given(&self) -> bool {
        self.kubeconfig.is_some() || self.context.is_some()
    }

    /// A client of the API server.
    pub async fn client(&self) -> Result<kube::Client> {
        let options = KubeConfigOptions {
            context: self.context.clone(),
            ..KubeConfigOptions::default()
        };
        let config = match &self.kubeconfig {
            Some(file) => {
                let kubeconfig = Kubeconfig::read_from(file)
                    .with_context(|| format!("cannot read \"{}\"", file.display()))?;
                kube::Config::from_custom_kubeconfig(kubeconfig, &options).await
            }
            None => kube::Config::from_kubeconfig(&options).await,
        };
        let mut config = config.context("the kubeconfig leads nowhere")?;
        config.connect_timeout = Some(std::time::Duration::from_secs(10));
        Ok(kube::Client::try_from(config)?)
    }
}

/// Which mesh: on this machine or in a cluster.
#[derive(Debug, Clone, clap::Args)]
pub struct Access {
    #[command(flatten)]
    mesh: Mesh,
    #[command(flatten)]
    cluster: ClusterArgs,
}

impl Access {
    /// Reaches the mesh that is meant.
    pub async fn open(&self) -> Result<AnyCluster> {
        if self.is_cluster()? {
            return Ok(AnyCluster::Kubernetes(self.kubernetes().await?));
        }
        Ok(AnyCluster::Local(LocalCluster::open(&self.mesh)?))
    }

    /// The cluster, if one is meant.
    pub async fn open_kubernetes(&self) -> Result<Option<KubernetesCluster>> {
        match self.is_cluster()? {
            true => Ok(Some(self.kubernetes().await?)),
            false => Ok(None),
        }
    }

    async fn kubernetes(&self) -> Result<KubernetesCluster> {
        let client = self.cluster.client().await?;
        let namespace = self.cluster.istio_namespace.clone();
        Ok(KubernetesCluster::new(client, namespace))
    }

    fn is_cluster(&self) -> Result<bool> {
        let running = || -> Result<bool> { Ok(cleanup::running(&self.mesh.state()?).is_some()) };
        let (cluster_given, mesh_given) = (self.cluster.is_given(), self.mesh.is_given());
        if cluster_given || mesh_given {
            return Ok(choose(cluster_given, mesh_given, false, false));
        }
        let (running, kubeconfig) = (running()?, has_kubeconfig());
        if running && kubeconfig {
            output::note(
                "talking to the mesh on this machine; --context or --kubeconfig mean a cluster",
            );
        }
        Ok(choose(false, false, running, kubeconfig))
    }
}

/// Whether a cluster is meant.
fn choose(cluster_given: bool, mesh_given: bool, running: bool, kubeconfig: bool) -> bool {
    cluster_given || !mesh_given && !running && kubeconfig
}

fn has_kubeconfig() -> bool {
    let default = || std::env::home_dir().map(|home| home.join(".kube/config"));
    match std::env::var_os("KUBECONFIG").filter(|value| !value.is_empty()) {
        Some(files) => std::env::split_paths(&files).any(|file| file.exists()),
        None => default().is_some_and(|file| file.exists()),
    }
}

/// A mesh, wherever it runs.
#[derive(Clone)]
pub enum AnyCluster {
    /// On this machine.
    Local(LocalCluster),
    /// In Kubernetes.
    Kubernetes(KubernetesCluster),
}

impl Cluster for AnyCluster {
    async fn pods(&self) -> Result<Vec<Pod>> {
        match self {
            Self::Local(cluster) => cluster.pods().await,
            Self::Kubernetes(cluster) => cluster.pods().await,
        }
    }

    async fn fetch(&self, pod: &Pod, port: u16, path: &str, token: Option<&str>) -> Result<Bytes> {
        match self {
            Self::Local(cluster) => cluster.fetch(pod, port, path, token).await,
            Self::Kubernetes(cluster) => cluster.fetch(pod, port, path, token).await,
        }
    }

    async fn control_plane_token(&self, pod: &Pod) -> Result<String> {
        match self {
            Self::Local(cluster) => cluster.control_plane_token(pod).await,
            Self::Kubernetes(cluster) => cluster.control_plane_token(pod).await,
        }
    }

    async fn control_plane_pods(&self) -> Result<Vec<Pod>> {
        match self {
            Self::Local(cluster) => cluster.control_plane_pods().await,
            Self::Kubernetes(cluster) => cluster.control_plane_pods().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::cluster_arguments(true, false, true, true, true)]
    #[case::mesh_arguments(false, true, false, true, false)]
    #[case::a_running_mesh(false, false, true, true, false)]
    #[case::a_kubeconfig(false, false, false, true, true)]
    #[case::nothing(false, false, false, false, false)]
    fn a_cluster_is_meant(
        #[case] cluster_given: bool,
        #[case] mesh_given: bool,
        #[case] running: bool,
        #[case] kubeconfig: bool,
        #[case] expected: bool,
    ) {
        let chosen = choose(cluster_given, mesh_given, running, kubeconfig);
        assert_eq!(chosen, expected);
    }
}
