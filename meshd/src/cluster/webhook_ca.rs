//! The roots in the webhook configurations of our revision, so that the API server trusts our webhooks.
//!
//! Configurations are found by the label `istio.io/rev`, which revision tags carry as well. A mutating one is
//! patched where its webhook is the injector; a validating one as a whole, and once the webhook is seen to
//! refuse a bad object its failure policy goes from Ignore to Fail: from then on nothing gets in unchecked,
//! while before nobody was locked out of an installation that was not up yet.

mod plan;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use citadel::trust_bundle::TrustBundle;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use kube::api::{Patch, PatchParams};
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use mesh_runtime::backoff::Backoff;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::watch;
use tokio_stream::StreamExt as _;

use super::webhook_probe;
use plan::Plan;

/// The owner of what we patch.
const FIELD_MANAGER: &str = "istiod";

/// First and longest pause before a configuration that is not right is tried again.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));

/// Writes roots into the webhook configurations of one revision.
#[derive(Clone)]
pub(super) struct WebhookCa {
    client: Client,
    namespace: String,
    revision: String,
}

impl WebhookCa {
    pub(super) fn new(client: Client, namespace: &str, revision: &str) -> Self {
        Self {
            client,
            namespace: namespace.to_owned(),
            revision: revision.to_owned(),
        }
    }

    /// Keeps the injection webhooks right until dropped.
    pub(super) async fn run_mutating(self, roots: watch::Receiver<Arc<TrustBundle>>) {
        let api: Api<MutatingWebhookConfiguration> = Api::all(self.client.clone());
        self.run(api, roots, plan::mutating, false).await;
    }

    /// Keeps the validation webhooks right until dropped.
    pub(super) async fn run_validating(self, roots: watch::Receiver<Arc<TrustBundle>>) {
        let api: Api<ValidatingWebhookConfiguration> = Api::all(self.client.clone());
        self.run(api, roots, plan::validating, true).await;
    }

    async fn run<K>(
        &self,
        api: Api<K>,
        mut roots: watch::Receiver<Arc<TrustBundle>>,
        plan: fn(&K, &[u8]) -> Plan,
        probes: bool,
    ) where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    {
        let labels = format!("istio.io/rev={}", self.revision);
        let (store, writer) = reflector::store();
        let events = watcher::watcher(api.clone(), watcher::Config::default().labels(&labels));
        let mut events = Box::pin(reflector::reflector(writer, events).default_backoff());
        let mut retry = Backoff::new(RETRY.0, RETRY.1);
        let mut refuses = false;
        loop {
            let pem = roots.borrow_and_update().to_pem().into_bytes();
            let mut done = true;
            for config in store.state() {
                let plan = plan(&config, &pem);
                if probes && plan.wants_probe && !refuses {
                    refuses = self.refuses(&config.name_any()).await;
                    done &= refuses;
                }
                let patched = self.apply(&api, &store, &config, &plan, refuses).await;
                done &= patched;
            }
            let pause = match done {
                true => {
                    retry.reset();
                    None
                }
                false => Some(retry.next_delay()),
            };
            tokio::select! {
                Some(event) = events.next() => if let Err(error) = event {
                    tracing::warn!(%error, "watching webhook configurations failed, retrying");
                },
                changed = roots.changed() => if changed.is_err() {
                    return;
                },
                () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some() => {}
            }
        }
    }

    /// Makes one configuration right; says whether it is.
    async fn apply<K>(
        &self,
        api: &Api<K>,
        store: &Store<K>,
        config: &K,
        plan: &Plan,
        refuses: bool,
    ) -> bool
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    {
        let Some(patch) = plan.patch(refuses) else {
            return true;
        };
        let name = config.name_any();
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        match api
            .patch(&name, &params, &Patch::<Value>::Strategic(patch))
            .await
        {
            Ok(_) => {
                tracing::info!(webhook = name, "patched the webhook configuration");
                true
            }
            // Deleted in between: the watch is about to say so.
            Err(kube::Error::Api(status)) if status.is_not_found() => {
                store.get(&ObjectRef::new(&name)).is_none()
            }
            Err(error) => {
                tracing::warn!(webhook = name, %error, "cannot patch the webhook configuration");
                false
            }
        }
    }

    async fn refuses(&self, webhook: &str) -> bool {
        match webhook_probe::refuses_bad_object(&self.client, &self.namespace, &self.revision).await
        {
            Ok(()) => {
                tracing::info!(
                    webhook,
                    "the webhook refuses bad objects: failurePolicy becomes Fail"
                );
                true
            }
            Err(reason) => {
                tracing::info!(webhook, %reason, "the webhook stays failurePolicy Ignore for now");
                false
            }
        }
    }
}

#[cfg(test)]
mod tests;
