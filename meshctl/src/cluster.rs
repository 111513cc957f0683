//! Reaching a running mesh: the control plane's pages and the admin ports of proxies.

use std::fmt;

use anyhow::Context;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use local::api::{ForwardRequest, PodRef};
use local::client::Client;
use local::state::StateDir;

use crate::cli::MeshName;

/// Where the control plane answers questions.
const CONTROL_PLANE_PORT: u16 = 15014;
/// Where a proxy does, on loopback inside its pod.
const ADMIN_PORT: u16 = 15000;

/// A pod, as people name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// The name, or the beginning of it.
    pub name: String,
    /// The namespace, if it was named.
    pub namespace: Option<String>,
}

impl Pod {
    /// Reads `POD` or `POD.NAMESPACE`; a namespace named apart wins.
    pub fn parse(text: &str, namespace: Option<&str>) -> Self {
        match (text.split_once('.'), namespace) {
            (None, namespace) => Self {
                name: text.to_owned(),
                namespace: namespace.map(str::to_owned),
            },
            (Some((name, own)), namespace) => Self {
                name: name.to_owned(),
                namespace: Some(namespace.unwrap_or(own).to_owned()),
            },
        }
    }
}

impl fmt::Display for Pod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match &self.namespace {
            Some(namespace) => write!(f, ".{namespace}"),
            None => Ok(()),
        }
    }
}

/// A running mesh.
#[derive(Debug)]
pub struct Cluster {
    client: Client,
}

impl Cluster {
    /// The mesh that the arguments name.
    pub fn open(mesh: &MeshName) -> Self {
        Self {
            client: Client::new(state(mesh)),
        }
    }

    /// A page of the control plane.
    ///
    /// # Errors
    /// It does not answer, or not with 200.
    pub async fn control_plane(&self, path: &str) -> anyhow::Result<String> {
        let pod = Pod {
            name: "istiod".to_owned(),
            namespace: Some("istio-system".to_owned()),
        };
        self.get(&pod, CONTROL_PLANE_PORT, path).await
    }

    /// A page of a proxy's admin port.
    ///
    /// # Errors
    /// It does not answer, or not with 200.
    pub async fn admin(&self, pod: &Pod, path: &str) -> anyhow::Result<String> {
        self.get(pod, ADMIN_PORT, path).await
    }

    async fn get(&self, pod: &Pod, port: u16, path: &str) -> anyhow::Result<String> {
        let pod = PodRef {
            namespace: pod.namespace.clone(),
            pod: pod.name.clone(),
        };
        let stream = self.client.forward(&ForwardRequest { pod, port }).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(stream.into_inner()).await?;
        let request = Request::get(path)
            .header(http::header::HOST, "localhost")
            .header(http::header::CONNECTION, "close")
            .body(Empty::<Bytes>::new())?;
        let exchange = async {
            let answer = sender.send_request(request).await?;
            let status = answer.status();
            let body = answer.into_body().collect().await?.to_bytes();
            anyhow::ensure!(
                status == StatusCode::OK,
                "{status}: {}",
                String::from_utf8_lossy(&body).trim()
            );
            Ok(String::from_utf8_lossy(&body).into_owned())
        };
        tokio::pin!(exchange);
        tokio::select! {
            answer = &mut exchange => answer,
            ended = connection => {
                ended.context("the connection broke")?;
                // Ended in order: the answer is complete and already here.
                exchange.await
            }
        }
    }
}

/// The state directory of the mesh that the arguments name.
pub fn state(mesh: &MeshName) -> StateDir {
    match &mesh.state {
        Some(path) => StateDir::new(path),
        None => StateDir::default_for(&mesh.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_are_named_like_people_do() {
        let pod = |name: &str, namespace: Option<&str>| Pod {
            name: name.into(),
            namespace: namespace.map(Into::into),
        };
        assert_eq!(Pod::parse("reviews", None), pod("reviews", None));
        assert_eq!(
            Pod::parse("reviews.default", None),
            pod("reviews", Some("default"))
        );
        assert_eq!(
            Pod::parse("reviews", Some("shop")),
            pod("reviews", Some("shop"))
        );
        assert_eq!(
            Pod::parse("reviews.default", Some("shop")),
            pod("reviews", Some("shop"))
        );
    }
}
