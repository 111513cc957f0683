//! What the agent does for one pod: read it, decide, apply.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use cni_plugin::protocol::{Answer, Request};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};

use crate::decide::{Decision, decide};
use crate::metrics::{Metrics, Outcome};
use crate::network;

/// How long the API server may take; the runtime tries again with a pod that failed.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// The annotation by which a static pod's object in the API says the UID that the kubelet knows it by.
const STATIC_POD_UID: &str = "kubernetes.io/config.hash";

/// Sets pods up.
#[derive(Clone)]
pub struct Setup {
    client: Client,
    metrics: Metrics,
}

impl Setup {
    /// Pods are read through `client`.
    pub fn new(client: Client, metrics: Metrics) -> Self {
        Self { client, metrics }
    }

    /// Sets up the pod whose network namespace is `namespace`. What fails is the answer too: the pod waits.
    pub async fn answer(&self, request: &Request, namespace: OwnedFd) -> Answer {
        let pod = format!("{}/{}", request.namespace, request.name);
        match self.set_up(request, namespace).await {
            Ok(Answer::Skipped { reason }) => {
                tracing::debug!(pod, reason, "pod is not captured");
                self.metrics.pod(Outcome::Skipped);
                Answer::Skipped { reason }
            }
            Ok(answer) => {
                tracing::info!(pod, "pod is captured");
                self.metrics.pod(Outcome::Captured);
                answer
            }
            Err(error) => {
                tracing::warn!(pod, error = format!("{error:#}"), "pod cannot be set up");
                self.metrics.pod(Outcome::Failed);
                Answer::Failed {
                    error: format!("{error:#}"),
                }
            }
        }
    }

    async fn set_up(&self, request: &Request, namespace: OwnedFd) -> anyhow::Result<Answer> {
        let pod = self.read(request).await?;
        match decide(&pod)? {
            Decision::Skip(reason) => Ok(Answer::Skipped {
                reason: reason.to_owned(),
            }),
            Decision::Capture(capture) => {
                let apply = move || network::apply(namespace.as_fd(), &capture);
                tokio::task::spawn_blocking(apply).await??;
                Ok(Answer::Captured)
            }
        }
    }

    async fn read(&self, request: &Request) -> anyhow::Result<Pod> {
        let pods = Api::<Pod>::namespaced(self.client.clone(), &request.namespace);
        let pod = tokio::time::timeout(READ_TIMEOUT, pods.get_opt(&request.name)).await;
        let pod = pod
            .map_err(|_| anyhow!("no answer after {READ_TIMEOUT:?}"))
            .and_then(|pod| Ok(pod?))
            .context("cannot read the pod from the API server")?;
        let pod = pod.context("the pod does not exist, or no longer")?;
        if request.uid.as_ref().is_some_and(|uid| !is(&pod, uid)) {
            bail!("the pod was replaced by one of the same name");
        }
        Ok(pod)
    }
}

fn is(pod: &Pod, uid: &String) -> bool {
    let annotations = pod.metadata.annotations.as_ref();
    let of_kubelet = annotations.and_then(|annotations| annotations.get(STATIC_POD_UID));
    pod.metadata.uid.as_ref() == Some(uid) || of_kubelet == Some(uid)
}
