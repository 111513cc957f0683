//! A mesh on this machine, started by `meshctl local up`.

use anyhow::{Result, bail};
use bytes::Bytes;
use local::{
    api::{ForwardRequest, PodRef, PodSummary},
    client::Client,
    state::StateDir,
};

use super::{Cluster, Mesh, Pod, http};

/// A mesh started by `meshctl local up`.
#[derive(Debug, Clone)]
pub struct LocalCluster {
    client: Client,
}

impl LocalCluster {
    /// The mesh whose state is in `state`.
    pub fn new(state: StateDir) -> Self {
        Self {
            client: Client::new(state),
        }
    }

    /// The mesh that the arguments name.
    pub fn open(mesh: &Mesh) -> Result<Self> {
        Ok(Self::new(mesh.state()?))
    }
}

impl Cluster for LocalCluster {
    async fn pods(&self) -> Result<Vec<Pod>> {
        let pod = |pod: PodSummary| Pod {
            namespace: pod.namespace,
            name: pod.name,
            proxied: pod.proxied,
        };
        Ok(self
            .client
            .status()
            .await?
            .pods
            .into_iter()
            .map(pod)
            .collect())
    }

    async fn fetch(&self, pod: &Pod, port: u16, path: &str, token: Option<&str>) -> Result<Bytes> {
        let to = PodRef {
            namespace: Some(pod.namespace.clone()),
            pod: pod.name.clone(),
        };
        let request = ForwardRequest { pod: to, port };
        let stream = self.client.forward(&request).await?;
        http::get(stream.into_inner(), &pod.name, path, token).await
    }

    async fn control_plane_token(&self, pod: &Pod) -> Result<String> {
        bail!(
            "pod \"{}\" does not take a connection from inside for its own: --http-address of meshd must \
             include 127.0.0.1",
            pod.name
        )
    }

    async fn control_plane_pods(&self) -> Result<Vec<Pod>> {
        Ok(vec![self.find_pod("istio-system/istiod").await?])
    }
}
