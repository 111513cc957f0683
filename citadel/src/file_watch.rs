//! Tells when something in a directory changed.
//!
//! The directory is watched rather than the files: ConfigMaps and Secrets change by swapping a symbolic link,
//! and atomic writers rename. Events only wake the reader, who reads everything again, so any number of them
//! may be folded into one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use thiserror::Error;
use tokio::sync::Notify;

/// Changes that follow each other within this time are one.
const DEBOUNCE: Duration = Duration::from_millis(50);

/// Why a directory cannot be watched.
#[derive(Debug, Error)]
#[error("cannot watch \"{}\"", path.display())]
pub struct WatchError {
    path: PathBuf,
    #[source]
    source: notify::Error,
}

/// A running watch. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct FileWatch {
    changed: Arc<Notify>,
    _watcher: RecommendedWatcher,
}

impl FileWatch {
    /// Watches the files directly in `directory`.
    pub(crate) fn directory(directory: &Path) -> Result<Self, WatchError> {
        let failed = |source| WatchError {
            path: directory.to_owned(),
            source,
        };
        let changed = Arc::new(Notify::new());
        let waker = changed.clone();
        // An error of the watcher may hide a change, so it wakes the reader too.
        let mut watcher =
            notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
                let only_read = event.is_ok_and(|event| event.kind.is_access());
                if !only_read {
                    waker.notify_one();
                }
            })
            .map_err(failed)?;
        watcher
            .watch(directory, RecursiveMode::NonRecursive)
            .map_err(failed)?;
        Ok(Self {
            changed,
            _watcher: watcher,
        })
    }

    /// Returns after a change since the last call, once the changes have calmed down.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
        while tokio::time::timeout(DEBOUNCE, self.changed.notified())
            .await
            .is_ok()
        {}
    }
}
