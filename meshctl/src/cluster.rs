//! How commands reach a mesh, wherever it runs.
//!
//! Commands that look at proxies are written against [`Cluster`]; a local mesh is the one
//! implementation so far.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use local::{
    api::{ForwardRequest, GetRequest, PodRef, PodSummary},
    client::Client,
    state::StateDir,
};
use serde_json::Value;

/// Name of the container with the proxy.
pub const PROXY_CONTAINER: &str = "istio-proxy";

/// Port of a proxy's admin interface, on its pod's loopback address.
pub const ADMIN_PORT: u16 = 15000;

/// Port of the control plane's metrics and debug pages.
pub const CONTROL_PLANE_PORT: u16 = 15014;

/// A pod of a mesh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Whether it has a proxy.
    pub proxied: bool,
}

/// Access to a running mesh.
pub trait Cluster {
    /// All pods.
    fn pods(&self) -> impl Future<Output = Result<Vec<Pod>>>;

    /// Asks an HTTP server inside a pod, as its own processes would.
    fn http_get(&self, pod: &Pod, port: u16, path: &str) -> impl Future<Output = Result<Bytes>>;

    /// Objects of a kind in all namespaces.
    fn objects(&self, kind: &str) -> impl Future<Output = Result<Vec<Value>>>;

    /// A pod by `NAME`, `NAME.NAMESPACE` or `NAMESPACE/NAME`, or by the beginning of its name.
    fn find_pod(&self, name: &str) -> impl Future<Output = Result<Pod>> {
        async move { find(self.pods().await?, name) }
    }

    /// Asks the control plane for a page.
    fn control_plane(&self, path: &str) -> impl Future<Output = Result<Bytes>> {
        async move {
            let pod = self.find_pod("istio-system/istiod").await?;
            self.http_get(&pod, CONTROL_PLANE_PORT, path).await
        }
    }

    /// Asks a proxy's admin interface for JSON.
    fn admin(&self, pod: &Pod, path: &str) -> impl Future<Output = Result<Value>> {
        async move {
            let body = self.http_get(pod, ADMIN_PORT, path).await?;
            serde_json::from_slice(&body)
                .with_context(|| format!("{path} of pod \"{}\" is not JSON", pod.name))
        }
    }
}

/// Which mesh.
#[derive(Debug, Clone, clap::Args)]
pub struct Mesh {
    /// Name of the mesh
    #[arg(long, global = true, env = NAME_VARIABLE, default_value = DEFAULT_NAME)]
    pub name: String,
    /// Directory of the mesh's state
    #[arg(long, global = true, value_name = "DIR")]
    pub state: Option<PathBuf>,
}

impl Mesh {
    /// The state directory that the arguments name.
    pub fn state(&self) -> Result<StateDir> {
        let legible = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        match &self.state {
            Some(dir) => Ok(StateDir::new(std::path::absolute(dir)?)),
            None if !self.name.is_empty() && self.name.bytes().all(legible) => {
                Ok(StateDir::default_for(&self.name))
            }
            None => bail!(
                "\"{}\" is not a name for a mesh: letters, digits and - only",
                self.name
            ),
        }
    }

    /// A client of the mesh's control API.
    pub fn client(&self) -> Result<Client> {
        Ok(Client::new(self.state()?))
    }
}

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

/// Environment variable with the name of the mesh that commands talk to.
pub const NAME_VARIABLE: &str = "WEFT_LOCAL_NAME";

/// Name of a mesh that got none.
pub const DEFAULT_NAME: &str = "default";

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

    async fn http_get(&self, pod: &Pod, port: u16, path: &str) -> Result<Bytes> {
        let to = PodRef {
            namespace: Some(pod.namespace.clone()),
            pod: pod.name.clone(),
        };
        let stream = self
            .client
            .forward(&ForwardRequest { pod: to, port })
            .await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(stream.into_inner()).await?;
        let request = http::Request::get(path)
            .header("host", "localhost")
            .body(Empty::<Bytes>::new())?;
        let answer = async {
            let response = sender.send_request(request).await?;
            let status = response.status();
            let body = response.into_body().collect().await?.to_bytes();
            anyhow::ensure!(
                status.is_success(),
                "{path} of pod \"{}\": {status}",
                pod.name
            );
            Ok(body)
        };
        tokio::pin!(answer, connection);
        // The connection must be driven while the answer is awaited; it may end first.
        let mut open = true;
        loop {
            tokio::select! {
                answer = &mut answer => return answer,
                _ = &mut connection, if open => open = false,
            }
        }
    }

    async fn objects(&self, kind: &str) -> Result<Vec<Value>> {
        let request = GetRequest {
            kind: kind.to_owned(),
            name: None,
            namespace: None,
        };
        Ok(self.client.get(&request).await?)
    }
}

fn find(pods: Vec<Pod>, name: &str) -> Result<Pod> {
    let known: BTreeMap<_, _> = pods.iter().map(|pod| (pod.name.as_str(), pod)).collect();
    let forms = [
        name.split_once('/')
            .map(|(namespace, pod)| (pod, namespace)),
        name.rsplit_once('.'),
    ];
    for (wanted, namespace) in forms.into_iter().flatten() {
        if let Some(pod) = pods
            .iter()
            .find(|pod| pod.name == wanted && pod.namespace == namespace)
        {
            return Ok(pod.clone());
        }
    }
    if let Some(pod) = known.get(name) {
        return Ok((*pod).clone());
    }
    let (wanted, namespace) = match name.split_once('/') {
        Some((namespace, wanted)) => (wanted, Some(namespace)),
        None => (name, None),
    };
    let matches = |pod: &&Pod| {
        pod.name.starts_with(wanted) && namespace.is_none_or(|namespace| pod.namespace == namespace)
    };
    match pods.iter().filter(matches).collect::<Vec<_>>().as_slice() {
        [] => bail!("no pod \"{name}\""),
        [pod] => Ok((*pod).clone()),
        several => {
            let names: Vec<_> = several
                .iter()
                .map(|pod| format!("{}/{}", pod.namespace, pod.name))
                .collect();
            bail!("\"{name}\" can be any of: {}", names.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn pod(namespace: &str, name: &str) -> Pod {
        Pod {
            namespace: namespace.into(),
            name: name.into(),
            proxied: true,
        }
    }

    #[rstest]
    #[case("a-1", Ok("x/a-1"))]
    #[case("b", Ok("x/b-1"))]
    #[case("c-1.y", Ok("y/c-1"))]
    #[case("x/c-1", Ok("x/c-1"))]
    #[case("y/c", Ok("y/c-1"))]
    #[case("a", Err("\"a\" can be any of: x/a-1, x/a-2"))]
    #[case("z", Err("no pod \"z\""))]
    fn names(#[case] name: &str, #[case] expected: Result<&str, &str>) {
        let pods = vec![
            pod("x", "a-1"),
            pod("x", "a-2"),
            pod("x", "b-1"),
            pod("x", "c-1"),
            pod("y", "c-1"),
        ];
        let found = find(pods, name)
            .map(|pod| format!("{}/{}", pod.namespace, pod.name))
            .map_err(|error| error.to_string());
        assert_eq!(found, expected.map(str::to_owned).map_err(str::to_owned));
    }
}
