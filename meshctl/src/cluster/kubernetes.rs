//! A mesh in a Kubernetes cluster, seen through the API server alone: pods are asked by port-forward, so nothing
//! but the kubeconfig has to be in reach.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1,
};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, PostParams},
};

use super::{Cluster, PROXY_CONTAINER, Pod, http};

/// The audience that the control plane accepts tokens for.
const TOKEN_AUDIENCE: &str = "istio-ca";

/// The shortest life that the API server gives a token.
const TOKEN_SECONDS: i64 = 600;

/// A mesh in a cluster.
#[derive(Clone)]
pub struct KubernetesCluster {
    client: Client,
    namespace: String,
}

impl KubernetesCluster {
    /// The mesh whose control plane is in `namespace`.
    pub fn new(client: Client, namespace: String) -> Self {
        Self { client, namespace }
    }

    /// The API server's client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The namespace of the control plane.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    async fn list(&self, api: Api<v1::Pod>, params: ListParams) -> Result<Vec<v1::Pod>> {
        let pods = api.list(&params).await;
        Ok(pods.context("the API server does not list pods")?.items)
    }
}

impl Cluster for KubernetesCluster {
    async fn pods(&self) -> Result<Vec<Pod>> {
        let pods = Api::all(self.client.clone());
        let pods = self.list(pods, ListParams::default()).await?;
        Ok(pods
            .iter()
            .filter(|pod| is_alive(pod))
            .map(summary)
            .collect())
    }

    async fn fetch(&self, pod: &Pod, port: u16, path: &str, token: Option<&str>) -> Result<Bytes> {
        let pods: Api<v1::Pod> = Api::namespaced(self.client.clone(), &pod.namespace);
        let what = || {
            format!(
                "port {port} of pod \"{}/{}\" cannot be reached",
                pod.namespace, pod.name
            )
        };
        let mut forward = pods
            .portforward(&pod.name, &[port])
            .await
            .with_context(what)?;
        let stream = forward.take_stream(port).with_context(what)?;
        let refused = forward.take_error(port);
        let answer = http::get(TokioIo::new(stream), &pod.name, path, token).await;
        // What the kubelet says is better than the end of a connection.
        match (answer, refused) {
            (Err(error), Some(refused)) if error.is::<hyper::Error>() => {
                drop(forward);
                let reason = refused.await;
                Err(error.context(reason.unwrap_or_else(what)))
            }
            (answer, _) => answer,
        }
    }

    async fn control_plane_token(&self, pod: &Pod) -> Result<String> {
        let pods: Api<v1::Pod> = Api::namespaced(self.client.clone(), &pod.namespace);
        let found = pods.get(&pod.name).await?;
        let account = found.spec.and_then(|spec| spec.service_account_name);
        let account = account.unwrap_or_else(|| "default".to_owned());
        let accounts: Api<v1::ServiceAccount> =
            Api::namespaced(self.client.clone(), &pod.namespace);
        let answer = accounts
            .create_token_request(&account, &PostParams::default(), &token_request())
            .await
            .with_context(|| {
                format!(
                    "no token for service account \"{account}\": the control plane asks for one where a \
                     port-forward does not reach its loopback address, and you need the permission to create \
                     serviceaccounts/token in namespace \"{}\"",
                    pod.namespace
                )
            })?;
        let token = answer.status.and_then(|status| status.token);
        token.context("the API server gives no token")
    }

    async fn control_plane_pods(&self) -> Result<Vec<Pod>> {
        let pods = Api::namespaced(self.client.clone(), &self.namespace);
        let pods = self
            .list(pods, ListParams::default().labels("app=istiod"))
            .await?;
        let ready: Vec<Pod> = pods
            .iter()
            .filter(|pod| is_ready(pod))
            .map(summary)
            .collect();
        ensure!(
            !ready.is_empty(),
            "no control plane is ready in namespace \"{}\": see meshctl verify-install",
            self.namespace
        );
        Ok(ready)
    }
}

/// A token for what the control plane expects, and for no longer than the API server's minimum.
fn token_request() -> TokenRequest {
    TokenRequest {
        spec: Some(TokenRequestSpec {
            audiences: Some(vec![TOKEN_AUDIENCE.to_owned()]),
            expiration_seconds: Some(TOKEN_SECONDS),
            ..TokenRequestSpec::default()
        }),
        ..TokenRequest::default()
    }
}

fn summary(pod: &v1::Pod) -> Pod {
    Pod {
        namespace: pod.namespace().unwrap_or_default(),
        name: pod.name_any(),
        proxied: has_proxy(pod),
    }
}

fn has_proxy(pod: &v1::Pod) -> bool {
    let Some(spec) = &pod.spec else {
        return false;
    };
    let containers = spec.containers.iter();
    // A native sidecar is an init container.
    containers
        .chain(spec.init_containers.iter().flatten())
        .any(|container| container.name == PROXY_CONTAINER)
}

/// A pod that ended keeps its name for a while.
fn is_alive(pod: &v1::Pod) -> bool {
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    !matches!(phase, Some("Succeeded" | "Failed"))
}

fn is_ready(pod: &v1::Pod) -> bool {
    let status = pod.status.as_ref();
    let mut conditions = status
        .into_iter()
        .flat_map(|status| status.conditions.iter().flatten());
    conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(native: bool, phase: &str, ready: &str) -> v1::Pod {
        let proxy = json!([{"name": "istio-proxy"}]);
        let app = json!([{"name": "app"}]);
        let pod = json!({
            "metadata": {"name": "a-1", "namespace": "shop"},
            "spec": match native {
                true => json!({"containers": app, "initContainers": proxy}),
                false => json!({"containers": app}),
            },
            "status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready}]},
        });
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn native_sidecars_are_proxies() {
        let expected = |proxied| Pod {
            namespace: "shop".into(),
            name: "a-1".into(),
            proxied,
        };
        for native in [true, false] {
            assert_eq!(summary(&pod(native, "Running", "True")), expected(native));
        }
    }

    #[test]
    fn pods_that_ended_or_are_not_ready_are_not_asked() {
        let cases = [
            ("Running", "True", (true, true)),
            ("Pending", "False", (true, false)),
            ("Succeeded", "False", (false, false)),
        ];
        for (phase, ready, expected) in cases {
            let pod = pod(true, phase, ready);
            assert_eq!((is_alive(&pod), is_ready(&pod)), expected, "{phase}");
        }
    }
}
