//! The running galley: follows its source and publishes snapshots.

mod cluster;
mod files;

use std::path::PathBuf;
use std::sync::Arc;

use mesh_api::mesh_config::MeshConfig;
use mesh_api::snapshot::Snapshot;
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio_util::sync::CancellationToken;

use crate::findings::Findings;
use crate::metrics::Metrics;
use crate::pipeline::Output;
use crate::source::kube::KubeSource;
use crate::status::Reports;

/// What galley reads from files.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Directories of manifests; on the same object a later one overrides an
    /// earlier one.
    pub config_dirs: Vec<PathBuf>,
    /// What the mesh's settings start from; the ConfigMap `istio` overrides them.
    pub mesh: MeshConfig,
}

/// Why galley could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A directory is not there or cannot be watched.
    #[error("cannot watch the configuration directories: {0}")]
    Watch(#[from] notify::Error),
    /// The system gives no threads to watch the cluster on.
    #[error("cannot start threads to watch the cluster: {0}")]
    Threads(#[from] std::io::Error),
    /// The process was told to stop before the cluster had been read.
    #[error("stopped before the cluster was read completely")]
    Stopped,
}

/// A running galley. The first snapshot holds everything that was there at start.
#[derive(Debug)]
pub struct Galley {
    /// The newest snapshot. A reader that skips some merges their changes by
    /// comparing versions, or treats a gap as a full change.
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    /// Everything there is to say about the configuration now.
    pub diagnostics: watch::Receiver<Arc<Findings>>,
    /// The same by object of the cluster, for [`StatusWriter`](crate::status::StatusWriter);
    /// empty if the configuration is files.
    pub reports: watch::Receiver<Arc<Reports>>,
    /// Ends when `shutdown` is cancelled.
    pub task: JoinHandle<()>,
}

impl Galley {
    /// Reads directories of files and watches them from then on.
    ///
    /// # Errors
    /// A directory cannot be watched.
    pub async fn start(
        config: Config,
        registry: &mut Registry,
        shutdown: CancellationToken,
    ) -> Result<Self, StartError> {
        files::start(config, Metrics::register(registry), shutdown).await
    }

    /// Reads a cluster and watches it from then on. Returns once every kind has been
    /// read completely, however long that takes; what is missing is logged.
    /// `mesh` is what the mesh's settings start from.
    ///
    /// # Errors
    /// `shutdown` was cancelled before.
    pub async fn start_in_cluster(
        source: KubeSource,
        mesh: MeshConfig,
        registry: &mut Registry,
        shutdown: CancellationToken,
    ) -> Result<Self, StartError> {
        cluster::start(source, mesh, Metrics::register(registry), shutdown).await
    }
}

/// Sends what a step gave to everyone who waits for it.
struct Publisher {
    snapshots: watch::Sender<Arc<Snapshot>>,
    diagnostics: watch::Sender<Arc<Findings>>,
    reports: watch::Sender<Arc<Reports>>,
    metrics: Metrics,
}

impl Publisher {
    /// Publishes the first step.
    fn new(first: Output, reports: Reports, metrics: Metrics) -> Self {
        metrics.observe(&first);
        Self {
            snapshots: watch::Sender::new(first.snapshot.unwrap_or_default()),
            diagnostics: watch::Sender::new(first.diagnostics),
            reports: watch::Sender::new(Arc::new(reports)),
            metrics,
        }
    }

    /// A galley that `work` feeds, which owns this publisher.
    fn feed<W>(self, work: impl FnOnce(Self) -> W) -> Galley
    where
        W: Future<Output = ()> + Send + 'static,
    {
        Galley {
            snapshots: self.snapshots.subscribe(),
            diagnostics: self.diagnostics.subscribe(),
            reports: self.reports.subscribe(),
            task: tokio::spawn(work(self)),
        }
    }

    fn publish_reports(&self, reports: Reports, visited: usize) {
        self.metrics.observe_reports(visited);
        self.reports.send_replace(Arc::new(reports));
    }

    fn publish(&self, output: Output) {
        self.metrics.observe(&output);
        self.diagnostics.send_if_modified(|current| {
            let modified = !Arc::ptr_eq(current, &output.diagnostics);
            current.clone_from(&output.diagnostics);
            modified
        });
        if let Some(snapshot) = output.snapshot {
            tracing::debug!(
                version = snapshot.version,
                objects = snapshot.changes.objects.len(),
                endpoints = snapshot.changes.endpoints.len(),
                "new snapshot"
            );
            self.snapshots.send_replace(snapshot);
        }
    }
}

/// Runs a step on a thread of its own: files block, and a large delta takes long.
async fn on_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
