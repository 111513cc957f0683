//! The values of the injector's ConfigMap, followed while the process runs.
//!
//! Values that cannot be read leave those in force; without the ConfigMap the defaults hold.

use std::convert::Infallible;
use std::sync::Arc;

use injector::values::{self, Values};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::runtime::{WatchStreamExt, watcher};
use mesh_runtime::task::Tasks;
use tokio::sync::watch;
use tokio_stream::StreamExt as _;

use super::Cluster;

/// Reads the ConfigMap and follows it in `tasks`.
pub(crate) async fn start(
    cluster: &Cluster,
    tasks: &Tasks,
) -> anyhow::Result<watch::Receiver<Arc<Values>>> {
    let name = cluster.args.injector_config_map();
    let config_maps: Api<ConfigMap> =
        Api::namespaced(cluster.client.clone(), &cluster.args.namespace);
    let values = match config_maps.get_opt(&name).await? {
        Some(config_map) => parse(&config_map)?,
        None => {
            tracing::warn!(config_map = name, "the ConfigMap is missing, defaults hold");
            Values::default()
        }
    };
    let (sender, values) = watch::channel(Arc::new(values));
    tasks.spawn("injector-values", follow(config_maps, name, sender));
    Ok(values)
}

/// Follows the ConfigMap until dropped.
async fn follow(
    config_maps: Api<ConfigMap>,
    name: String,
    current: watch::Sender<Arc<Values>>,
) -> Result<(), Infallible> {
    let mut versions = Box::pin(watcher::watch_object(config_maps, &name).default_backoff());
    while let Some(version) = versions.next().await {
        let config_map = match version {
            Ok(Some(config_map)) => config_map,
            // Deleted, maybe to be made anew: what it said still holds.
            Ok(None) => continue,
            Err(error) => {
                tracing::warn!(config_map = name, %error, "watching the injector's ConfigMap failed, retrying");
                continue;
            }
        };
        match parse(&config_map) {
            Ok(values) => publish(&current, values, &name),
            Err(error) => tracing::error!(
                config_map = name,
                error = &error as &dyn std::error::Error,
                "the injector's values cannot be used, those in force stay"
            ),
        }
    }
    Ok(())
}

fn publish(current: &watch::Sender<Arc<Values>>, values: Values, name: &str) {
    let changed = current.send_if_modified(|current| {
        let changed = **current != values;
        if changed {
            *current = Arc::new(values);
        }
        changed
    });
    if changed {
        tracing::info!(config_map = name, "the injector has new values");
    }
}

fn parse(config_map: &ConfigMap) -> Result<Values, values::ValuesError> {
    let text = |key| {
        let data = config_map.data.as_ref()?;
        data.get(key).map(String::as_str)
    };
    Values::parse(text(values::VALUES), text(values::CONFIG))
}
