//! Race repair: pods that started on the node before the plugin was there.
//!
//! They are injected, so their first init container, `istio-validation`, finds no rules and fails with an exit code
//! of its own; the pod is not open, but it does not get any further either. What is done about it is the
//! operator's choice, with Istio's names and meanings.

mod broken;

use std::collections::HashSet;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use futures_util::{StreamExt, pin_mut};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::runtime::events::{Event as PodEvent, EventType, Recorder, Reporter};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Api, Client, Resource, ResourceExt};
use mesh_runtime::drain;
use serde_json::json;

use crate::decide::{Decision, decide};
use crate::metrics::{Metrics, Success};
use crate::network;

pub use broken::Filter;

/// What is done about such a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Rules are applied where it runs; its init container succeeds at its next try.
    Repair {
        /// The directory where the runtime keeps network namespaces, as the agent sees it.
        namespaces: PathBuf,
    },
    /// It is deleted; who made it makes another.
    Delete,
    /// It gets a label, for others to act upon.
    Label {
        /// The label's key.
        key: String,
        /// Its value.
        value: String,
    },
}

impl Action {
    /// Its name in metrics, which is Istio's.
    fn name(&self) -> &'static str {
        match self {
            Self::Repair { .. } => "repair",
            Self::Delete => "delete",
            Self::Label { .. } => "label",
        }
    }

    /// For the pod's event.
    fn reason(&self) -> &'static str {
        match self {
            Self::Repair { .. } => "RepairBrokenPod",
            Self::Delete => "DeleteBrokenPod",
            Self::Label { .. } => "LabelBrokenPod",
        }
    }
}

/// Looks after the pods of one node.
pub struct Repair {
    client: Client,
    recorder: Recorder,
    node: String,
    filter: Filter,
    action: Action,
    metrics: Metrics,
    /// UIDs of pods that were dealt with: a repaired pod goes on failing until its container is started again.
    done: HashSet<String>,
}

impl Repair {
    /// Does `action` to pods of `node` that `filter` finds.
    pub fn new(
        client: Client,
        node: String,
        filter: Filter,
        action: Action,
        metrics: Metrics,
    ) -> Self {
        let reporter = Reporter {
            controller: "cni-repair".to_owned(),
            instance: Some(node.clone()),
        };
        Self {
            recorder: Recorder::new(client.clone(), reporter),
            client,
            node,
            filter,
            action,
            metrics,
            done: HashSet::new(),
        }
    }

    /// Watches until the drain begins.
    pub async fn run(mut self, drain: drain::Watch) -> anyhow::Result<()> {
        let pods = Api::<Pod>::all(self.client.clone());
        let mine = watcher::Config::default().fields(&format!("spec.nodeName={}", self.node));
        let events = watch(pods, mine).default_backoff();
        pin_mut!(events);
        loop {
            let event = tokio::select! {
                event = events.next() => event.context("the watch of pods ended")?,
                () = drain.signaled() => return Ok(()),
            };
            match event {
                Ok(Event::Apply(pod) | Event::InitApply(pod)) => self.look_at(&pod).await,
                Ok(Event::Delete(pod)) => {
                    self.done.remove(&pod.uid().unwrap_or_default());
                }
                Ok(Event::Init | Event::InitDone) => {}
                Err(error) => tracing::warn!(%error, "cannot watch the node's pods"),
            }
        }
    }

    /// Deals with a pod if it is broken, once.
    async fn look_at(&mut self, pod: &Pod) {
        let uid = pod.uid().unwrap_or_default();
        if self.done.contains(&uid) || !self.filter.matches(pod) {
            return;
        }
        let name = format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any());
        let action = self.action.name();
        let outcome = self.act(pod).await;
        let note = match &outcome {
            Ok(()) => {
                tracing::info!(pod = name, action, "pod started without capture");
                self.metrics.repaired(action, Success::Yes);
                self.done.insert(uid);
                format!("the pod started without capture: {action} succeeded")
            }
            // Its next failure is another event, and another try.
            Err(error) => {
                let error = format!("{error:#}");
                tracing::warn!(pod = name, action, error, "pod started without capture");
                self.metrics.repaired(action, Success::No);
                format!("the pod started without capture: {action} failed: {error}")
            }
        };
        self.tell(pod, note).await;
    }

    async fn act(&self, pod: &Pod) -> anyhow::Result<()> {
        let namespace = pod.namespace().unwrap_or_default();
        let pods = Api::<Pod>::namespaced(self.client.clone(), &namespace);
        match &self.action {
            Action::Repair { namespaces } => repair(pod, namespaces.clone()).await,
            Action::Delete => {
                // Whatever has changed since, it may not be broken any more.
                let same = Preconditions {
                    uid: pod.uid(),
                    resource_version: pod.resource_version(),
                };
                let params = DeleteParams::default().preconditions(same);
                pods.delete(&pod.name_any(), &params).await?;
                Ok(())
            }
            Action::Label { key, value } => {
                if pod.labels().contains_key(key) {
                    return Ok(());
                }
                // Metadata can be changed by way of the status too, which takes fewer rights.
                let patch = json!({"metadata": {"labels": {key: value}}});
                let params = PatchParams::default();
                pods.patch_status(&pod.name_any(), &params, &Patch::Merge(patch))
                    .await?;
                Ok(())
            }
        }
    }

    async fn tell(&self, pod: &Pod, note: String) {
        let event = PodEvent {
            type_: EventType::Warning,
            reason: self.action.reason().to_owned(),
            note: Some(note),
            action: self.action.name().to_owned(),
            secondary: None,
        };
        if let Err(error) = self.recorder.publish(&event, &pod.object_ref(&())).await {
            tracing::debug!(%error, "cannot write an event");
        }
    }
}

async fn repair(pod: &Pod, namespaces: PathBuf) -> anyhow::Result<()> {
    let capture = match decide(pod)? {
        Decision::Capture(capture) => capture,
        Decision::Skip(reason) => bail!("it would not have been captured: {reason}"),
    };
    let status = pod
        .status
        .as_ref()
        .and_then(|status| status.pod_ip.as_ref());
    let address: IpAddr = status.context("it has no address yet")?.parse()?;
    let work = move || {
        let namespace = network::find(&namespaces, address)?;
        network::apply(namespace.as_fd(), &capture)
    };
    Ok(tokio::task::spawn_blocking(work).await??)
}
