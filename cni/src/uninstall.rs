//! Whether the agent goes for good.
//!
//! When its pod is replaced, as by an upgrade or with its node, the plugin stays: pods of the mesh wait for the
//! next agent. When the DaemonSet is gone nobody would come, so the plugin goes too.

use std::time::Duration;

use k8s_openapi::api::apps::v1::DaemonSet;
use kube::{Api, Client};

/// How long the API server may take: the pod is being terminated.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Whether the agent's DaemonSet is gone or going.
///
/// Without the right to look it is gone as well: role and account are removed after it, and the answer may come
/// from that time. An API server that does not answer proves nothing.
pub async fn is_uninstall(client: &Client, namespace: &str, name: &str) -> bool {
    let daemon_sets = Api::<DaemonSet>::namespaced(client.clone(), namespace);
    match tokio::time::timeout(TIMEOUT, daemon_sets.get_opt(name)).await {
        Ok(Ok(Some(found))) => found.metadata.deletion_timestamp.is_some(),
        Ok(Ok(None)) => true,
        Ok(Err(kube::Error::Api(status))) if matches!(status.code, 401 | 403) => true,
        Ok(Err(error)) => {
            tracing::warn!(%error, "cannot tell whether the agent is uninstalled; the plugin stays");
            false
        }
        Err(_) => {
            tracing::warn!("the API server does not answer; the plugin stays");
            false
        }
    }
}
