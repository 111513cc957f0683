//! How commands reach a mesh, wherever it runs.
//!
//! Commands that look at proxies are written against [`Cluster`]: a mesh on this machine
//! ([`local`]) or in Kubernetes ([`kubernetes`]); [`access`] says which one is meant.

pub mod access;
pub mod kubernetes;
pub mod local;

mod http;

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use serde_json::Value;

pub use self::access::{Access, AnyCluster, DEFAULT_NAME, Mesh, NAME_VARIABLE};
pub use self::local::LocalCluster;

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

    /// Asks an HTTP server inside a pod, as its own processes would; with a bearer token if one is given.
    fn fetch(
        &self,
        pod: &Pod,
        port: u16,
        path: &str,
        token: Option<&str>,
    ) -> impl Future<Output = Result<Bytes>>;

    /// A token that the control plane in `pod` accepts, of an identity of its namespace.
    fn control_plane_token(&self, pod: &Pod) -> impl Future<Output = Result<String>>;

    /// Asks an HTTP server inside a pod, as its own processes would.
    fn http_get(&self, pod: &Pod, port: u16, path: &str) -> impl Future<Output = Result<Bytes>> {
        self.fetch(pod, port, path, None)
    }

    /// The replicas of the control plane, those that answer only.
    fn control_plane_pods(&self) -> impl Future<Output = Result<Vec<Pod>>>;

    /// A pod by `NAME`, `NAME.NAMESPACE` or `NAMESPACE/NAME`, or by the beginning of its name.
    fn find_pod(&self, name: &str) -> impl Future<Output = Result<Pod>> {
        async move { find(self.pods().await?, name) }
    }

    /// Asks every replica of the control plane for a page.
    fn control_plane(&self, path: &str) -> impl Future<Output = Result<Vec<Bytes>>> {
        async move {
            let mut answers = Vec::new();
            for pod in self.control_plane_pods().await? {
                answers.push(self.control_plane_page(&pod, path).await?);
            }
            Ok(answers)
        }
    }

    /// A page of one replica of the control plane. It shows everything to its own machine, which a
    /// port-forward is; where it is not taken for that, a token says who is asking.
    fn control_plane_page(&self, pod: &Pod, path: &str) -> impl Future<Output = Result<Bytes>> {
        async move {
            let refused = match self.fetch(pod, CONTROL_PLANE_PORT, path, None).await {
                Err(error) if asks_who(&error) => error,
                answer => return answer,
            };
            let token = self.control_plane_token(pod).await;
            let token = token.with_context(|| format!("{refused:#}"))?;
            self.fetch(pod, CONTROL_PLANE_PORT, path, Some(&token))
                .await
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

fn asks_who(error: &anyhow::Error) -> bool {
    let refused = error.downcast_ref::<http::Refused>();
    refused.is_some_and(http::Refused::is_about_identity)
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
    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

    use super::*;

    fn pod(namespace: &str, name: &str) -> Pod {
        Pod {
            namespace: namespace.into(),
            name: name.into(),
            proxied: true,
        }
    }

    /// A control plane that refuses callers without the right token.
    struct Suspicious {
        token: Result<&'static str, &'static str>,
    }

    impl Cluster for Suspicious {
        async fn pods(&self) -> Result<Vec<Pod>> {
            Ok(vec![pod("istio-system", "istiod-1")])
        }

        async fn fetch(&self, pod: &Pod, _: u16, path: &str, token: Option<&str>) -> Result<Bytes> {
            let (stream, server) = tokio::io::duplex(1 << 16);
            let status = match token {
                None => "401 Unauthorized",
                Some("good") => "200 OK",
                Some(_) => "403 Forbidden",
            };
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\n[]");
            let answered = async {
                let mut server = BufReader::new(server);
                let mut line = String::new();
                // The head ends with an empty line.
                while server.read_line(&mut line).await? > 2 {
                    line.clear();
                }
                server.write_all(answer.as_bytes()).await
            };
            let stream = hyper_util::rt::TokioIo::new(stream);
            let (body, answered) =
                tokio::join!(http::get(stream, &pod.name, path, token), answered);
            answered?;
            body
        }

        async fn control_plane_token(&self, _: &Pod) -> Result<String> {
            self.token.map(str::to_owned).map_err(anyhow::Error::msg)
        }

        async fn control_plane_pods(&self) -> Result<Vec<Pod>> {
            self.pods().await
        }
    }

    #[rstest]
    #[case::accepted(Ok("good"), Ok("[]"))]
    #[case::not_accepted(Ok("bad"), Err("/p of pod \"istiod-1\": 403 Forbidden: []"))]
    #[case::no_token(
        Err("you may not have one"),
        Err("/p of pod \"istiod-1\": 401 Unauthorized: []: you may not have one")
    )]
    #[tokio::test]
    async fn a_control_plane_that_asks_who_is_there_is_shown_a_token(
        #[case] token: Result<&'static str, &'static str>,
        #[case] expected: Result<&str, &str>,
    ) {
        let answers = Suspicious { token }.control_plane("/p").await;
        let found = answers.map(|answers| String::from_utf8(answers.concat()).unwrap());
        let found = found.map_err(|error| format!("{error:#}"));
        assert_eq!(found, expected.map(str::to_owned).map_err(str::to_owned));
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
