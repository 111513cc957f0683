//! ConfigMap `istio-ca-root-cert` in every namespace: the roots that proxies verify the control plane with.
//!
//! What should be there and what was seen there are compared in memory, so that nothing is written that is
//! right already, and a ConfigMap that somebody changes or deletes is put right at once.

mod state;

use std::sync::Arc;
use std::time::Duration;

use citadel::ca::plugged_in::ROOT_CERT;
use citadel::trust_bundle::TrustBundle;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{Patch, PatchParams};
use kube::core::PartialObjectMeta;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_stream::StreamExt as _;

use self::state::State;

/// The ConfigMap.
const NAME: &str = "istio-ca-root-cert";

/// The owner of what we apply.
const FIELD_MANAGER: &str = "istiod";

/// How often a namespace is written to at most, and pause before what could not be written is tried again.
const TURN: Duration = Duration::from_secs(5);

/// Keeps the ConfigMaps right until dropped.
pub(super) async fn run(client: Client, mut roots: watch::Receiver<Arc<TrustBundle>>) {
    let namespaces: Api<PartialObjectMeta<Namespace>> = Api::all(client.clone());
    let config_maps: Api<ConfigMap> = Api::all(client.clone());
    let only_ours = watcher::Config::default().fields(&format!("metadata.name={NAME}"));
    let every = watcher::Config::default();
    let mut namespaces = Box::pin(watcher::watcher(namespaces, every).default_backoff());
    let mut config_maps = Box::pin(watcher::watcher(config_maps, only_ours).default_backoff());
    let mut state = State::new(roots.borrow_and_update().to_pem());
    let mut turn = tokio::time::interval(TURN);
    turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            Some(event) = namespaces.next() => match event {
                Ok(event) => state.namespace(event),
                Err(error) => tracing::warn!(%error, "watching namespaces failed, retrying"),
            },
            Some(event) = config_maps.next() => match event {
                Ok(event) => state.config_map(event),
                Err(error) => tracing::warn!(%error, "watching root ConfigMaps failed, retrying"),
            },
            changed = roots.changed() => match changed {
                Ok(()) => state.set_roots(roots.borrow_and_update().to_pem()),
                Err(_) => return,
            },
            _ = turn.tick(), if state.is_waiting() => state.next_turn(),
        }
        while let Some(namespace) = state.next_wrong() {
            let written = write(&client, &namespace, state.roots()).await;
            match written {
                Ok(()) => state.written(&namespace),
                Err(error) if is_gone(&error) => state.gone(&namespace),
                Err(error) => {
                    tracing::warn!(namespace, %error, "cannot write the roots, trying again");
                    state.failed(&namespace);
                }
            }
        }
    }
}

async fn write(client: &Client, namespace: &str, roots: &str) -> kube::Result<()> {
    let config_maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let config_map = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": NAME, "labels": {"istio.io/config": "true"}},
        "data": {ROOT_CERT: roots},
    });
    let params = PatchParams::apply(FIELD_MANAGER).force();
    config_maps
        .patch(NAME, &params, &Patch::Apply(config_map))
        .await?;
    tracing::debug!(namespace, "wrote the roots");
    Ok(())
}

/// The namespace was deleted, or is about to be: nothing can be made in it any more.
fn is_gone(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else {
        return false;
    };
    status.is_not_found() || (status.is_forbidden() && status.message.contains("being terminated"))
}

#[cfg(test)]
mod tests;
