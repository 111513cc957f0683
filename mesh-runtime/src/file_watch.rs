//! Tells when something in one of several directories changed.
//!
//! Directories are watched rather than files: ConfigMaps and Secrets change by swapping a symbolic link, and atomic
//! writers rename. Events only wake the reader, who looks at everything again, so any number of them may be folded
//! into one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use thiserror::Error;
use tokio::sync::Notify;

/// Changes that follow each other within this time are one: whoever replaces files often replaces several.
const DEBOUNCE: Duration = Duration::from_millis(100);

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
pub struct FileWatch {
    changed: Arc<Notify>,
    _watcher: RecommendedWatcher,
}

impl FileWatch {
    /// Watches the files directly in `directories`.
    ///
    /// # Errors
    /// When a directory is not there or the kernel allows no further watch.
    pub fn new(directories: &[&Path]) -> Result<Self, WatchError> {
        let failed = |path: &Path, source| WatchError {
            path: path.to_owned(),
            source,
        };
        let changed = Arc::new(Notify::new());
        let waker = changed.clone();
        // An error of the watcher may hide a change, so it wakes the reader too.
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let only_read = event.is_ok_and(|event| event.kind.is_access());
            if !only_read {
                waker.notify_one();
            }
        });
        let first = directories.first().copied().unwrap_or(Path::new(""));
        let mut watcher = watcher.map_err(|source| failed(first, source))?;
        for directory in directories {
            watcher
                .watch(directory, RecursiveMode::NonRecursive)
                .map_err(|source| failed(directory, source))?;
        }
        Ok(Self {
            changed,
            _watcher: watcher,
        })
    }

    /// Returns after a change since the last call, once the changes have calmed down.
    pub async fn changed(&self) {
        self.changed.notified().await;
        while tokio::time::timeout(DEBOUNCE, self.changed.notified())
            .await
            .is_ok()
        {}
    }
}
