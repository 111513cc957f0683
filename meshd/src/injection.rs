//! The injector's settings, from the arguments and the mesh configuration of the snapshot.

use std::sync::Arc;

use injector::InjectorConfig;
use injector::values::Values;
use injector::webhook::Settings;
use mesh_api::snapshot::Snapshot;
use tokio::sync::watch;

use crate::args::Args;

/// The injector's settings, made anew for each request from the mesh configuration in force.
pub(crate) fn settings(
    args: &Args,
    trust_domain: String,
    snapshots: watch::Receiver<Arc<Snapshot>>,
) -> Settings {
    let cluster_id = args.cluster_id.clone();
    let image = args.proxy_image.clone();
    let revision = args.cluster.revision.clone();
    Arc::new(move || {
        let mesh = snapshots.borrow().mesh.clone();
        let of_mesh = InjectorConfig::of_mesh(&mesh);
        InjectorConfig {
            image: image.clone().unwrap_or_else(|| of_mesh.image.clone()),
            revision: revision.clone(),
            trust_domain: trust_domain.clone(),
            cluster_id: cluster_id.clone(),
            ..of_mesh
        }
    })
}

/// The same under the values of a cluster's ConfigMap, and with what only the cluster knows.
pub(crate) fn in_cluster(
    mesh: Settings,
    native_sidecars: bool,
    values: watch::Receiver<Arc<Values>>,
) -> Settings {
    Arc::new(move || {
        let mut config = mesh();
        let values = values.borrow().clone();
        values.apply(&mut config);
        config.native_sidecar = values.native_sidecars().unwrap_or(native_sidecars);
        config
    })
}
