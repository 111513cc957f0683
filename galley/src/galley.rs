//! The running galley: watches its sources and publishes snapshots.

use std::path::PathBuf;
use std::sync::Arc;

use mesh_api::diagnostic::Diagnostic;
use mesh_api::mesh_config::MeshConfig;
use mesh_api::snapshot::Snapshot;
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::pipeline::{Output, Pipeline};
use crate::source::directory::{self, Changed, Directories};

/// What galley reads.
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
}

/// A running galley. The first snapshot holds everything that was there at start.
#[derive(Debug)]
pub struct Galley {
    /// The newest snapshot. A reader that skips some merges their changes by
    /// comparing versions, or treats a gap as a full change.
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    /// Everything there is to say about the configuration now.
    pub diagnostics: watch::Receiver<Arc<Vec<Diagnostic>>>,
    /// Ends when `shutdown` is cancelled.
    pub task: JoinHandle<()>,
}

impl Galley {
    /// Reads the configuration and watches it from then on.
    ///
    /// # Errors
    /// A directory cannot be watched.
    pub async fn start(
        config: Config,
        registry: &mut Registry,
        shutdown: CancellationToken,
    ) -> Result<Self, StartError> {
        let metrics = Metrics::register(registry);
        let directories = Directories::new(config.config_dirs);
        // Watching begins before the first scan, so that no change falls between.
        let changed = directory::watch(directories.paths())?;
        let pipeline = Pipeline::new(directories, config.mesh);
        let (pipeline, first) = step(pipeline).await;
        metrics.observe(&first);
        let snapshot = first.snapshot.unwrap_or_default();
        let (snapshot_sender, snapshots) = watch::channel(snapshot);
        let (diagnostics_sender, diagnostics) = watch::channel(first.diagnostics);
        let task = tokio::spawn(async move {
            let publish = Publisher {
                snapshot_sender,
                diagnostics_sender,
                metrics,
            };
            let work = follow(pipeline, changed, publish);
            shutdown.run_until_cancelled(work).await;
        });
        Ok(Self {
            snapshots,
            diagnostics,
            task,
        })
    }
}

struct Publisher {
    snapshot_sender: watch::Sender<Arc<Snapshot>>,
    diagnostics_sender: watch::Sender<Arc<Vec<Diagnostic>>>,
    metrics: Metrics,
}

async fn follow(mut pipeline: Pipeline, mut changed: Changed, publisher: Publisher) {
    loop {
        changed.next().await;
        let output;
        (pipeline, output) = step(pipeline).await;
        publisher.publish(output);
    }
}

/// File reading blocks, so a step has a thread of its own.
async fn step(mut pipeline: Pipeline) -> (Pipeline, Output) {
    let work = spawn_blocking(move || {
        let output = pipeline.step();
        (pipeline, output)
    });
    match work.await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

impl Publisher {
    fn publish(&self, output: Output) {
        self.metrics.observe(&output);
        self.diagnostics_sender.send_if_modified(|current| {
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
            self.snapshot_sender.send_replace(snapshot);
        }
    }
}
