//! Galley over directories of files.

use std::time::Instant;

use tokio_util::sync::CancellationToken;

use super::{Config, Galley, Publisher, StartError, on_thread};
use crate::metrics::Metrics;
use crate::pipeline::{Output, Pipeline};
use crate::source::directory::{self, Changed, Directories};
use crate::status::Reports;
use crate::store::Store;

/// The directories and what is made of them.
struct Files {
    directories: Directories,
    pipeline: Pipeline,
}

pub(super) async fn start(
    config: Config,
    metrics: Metrics,
    shutdown: CancellationToken,
) -> Result<Galley, StartError> {
    let directories = Directories::new(config.config_dirs);
    // Watching begins before the first scan, so that no change falls between.
    let changed = directory::watch(directories.paths())?;
    let files = Files {
        directories,
        pipeline: Pipeline::new(Store::new(config.mesh)),
    };
    let (files, first) = on_thread(|| files.step()).await;
    let publisher = Publisher::new(first, Reports::default(), metrics);
    Ok(publisher.feed(|publisher| async move {
        let work = files.follow(changed, publisher);
        shutdown.run_until_cancelled(work).await;
    }))
}

impl Files {
    fn step(mut self) -> (Self, Output) {
        let delta = self.directories.scan(Instant::now());
        let output = self.pipeline.apply(delta, self.directories.diagnostics());
        (self, output)
    }

    async fn follow(mut self, mut changed: Changed, publisher: Publisher) {
        loop {
            let latest = self.directories.next_scan();
            changed.next(latest.map(Into::into)).await;
            let output;
            (self, output) = on_thread(|| self.step()).await;
            publisher.publish(output);
        }
    }
}
