//! Galley over a cluster.

use std::time::Duration;

use mesh_api::mesh_config::MeshConfig;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Galley, Publisher, StartError, on_thread};
use crate::metrics::Metrics;
use crate::pipeline::{Output, Pipeline};
use crate::source::kube::{Change, Cluster, KubeSource};
use crate::status::Reports;
use crate::store::Store;

/// Changes that go into one snapshot at most.
const BATCH_MAX: usize = 4096;

/// How often it is said which kinds have not been read yet.
const REMINDER: Duration = Duration::from_secs(10);

/// The cluster and what is made of it.
struct Following {
    cluster: Cluster,
    pipeline: Pipeline,
    reports: Reports,
}

/// What a step gave.
struct Step {
    output: Output,
    /// Set if something changed that status is written from, with the number of objects that were looked at.
    reports: Option<(Reports, usize)>,
}

pub(super) async fn start(
    source: KubeSource,
    mut mesh: MeshConfig,
    metrics: Metrics,
    shutdown: CancellationToken,
) -> Result<Galley, StartError> {
    let options = source.options();
    mesh.root_namespace = options.namespace.as_str().into();
    let store = Store::new(mesh).with_config_map(&options.mesh_config_map);
    let revision = options.revision.clone();
    let mut cluster = Cluster::new();
    let (sender, mut changes) = KubeSource::channel();
    let watching = source.start(sender, shutdown.clone())?;
    let whole = shutdown.run_until_cancelled(read(&mut cluster, &mut changes));
    if whole.await != Some(true) {
        return Err(StartError::Stopped);
    }
    let following = Following {
        reports: Reports::new(&revision),
        cluster,
        pipeline: Pipeline::new(store),
    };
    let (following, first) = on_thread(|| following.step(Vec::new())).await;
    let (reports, visited) = first.reports.unwrap_or_default();
    metrics.observe_reports(visited);
    let publisher = Publisher::new(first.output, reports, metrics);
    Ok(publisher.feed(|publisher| async move {
        let work = following.follow(changes, publisher);
        shutdown.run_until_cancelled(work).await;
        if let Err(panic) = on_thread(|| watching.join()).await {
            std::panic::resume_unwind(panic);
        }
    }))
}

/// Reads until every kind is complete; false if the source has ended before.
async fn read(cluster: &mut Cluster, changes: &mut mpsc::Receiver<Change>) -> bool {
    loop {
        let missing = cluster.missing();
        if missing.is_empty() {
            return true;
        }
        match timeout(REMINDER, changes.recv()).await {
            Ok(Some(change)) => cluster.apply(change),
            Ok(None) => return false,
            Err(_) => tracing::warn!(?missing, "still waiting for the API server"),
        }
    }
}

impl Following {
    fn step(mut self, changes: Vec<Change>) -> (Self, Step) {
        for change in changes {
            self.cluster.apply(change);
        }
        let (delta, seen) = self.cluster.take_delta();
        let concerned = !seen.is_empty() || !delta.is_empty();
        let mut output = self.pipeline.apply(delta, &[]);
        let reports = concerned.then(|| {
            let documents = std::mem::take(&mut output.concerned);
            let reports = &mut self.reports;
            let visited = self
                .pipeline
                .report(reports, &self.cluster, documents, seen);
            (reports.clone(), visited)
        });
        (self, Step { output, reports })
    }

    async fn follow(mut self, mut changes: mpsc::Receiver<Change>, publisher: Publisher) {
        loop {
            let mut batch = Vec::new();
            if changes.recv_many(&mut batch, BATCH_MAX).await == 0 {
                return;
            }
            let step;
            (self, step) = on_thread(|| self.step(batch)).await;
            publisher.publish(step.output);
            if let Some((reports, visited)) = step.reports {
                publisher.publish_reports(reports, visited);
            }
        }
    }
}

#[cfg(test)]
mod tests;
