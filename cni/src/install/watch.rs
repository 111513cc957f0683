//! Tells when something in one of several directories changed.
//!
//! Directories are watched rather than files, since others replace files too. Events only wake the reader, who
//! looks at everything again.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

/// Changes that follow each other within this time are one: a network provider writes several files.
const DEBOUNCE: Duration = Duration::from_millis(100);

/// A running watch. Dropping it ends it.
pub(super) struct FileWatch {
    changed: Arc<Notify>,
    _watcher: RecommendedWatcher,
}

impl FileWatch {
    /// Watches the files directly in `directories`.
    pub(super) fn new(directories: &[&Path]) -> anyhow::Result<Self> {
        let changed = Arc::new(Notify::new());
        let waker = changed.clone();
        // An error of the watcher may hide a change, so it wakes the reader too.
        let mut watcher =
            notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
                let only_read = event.is_ok_and(|event| event.kind.is_access());
                if !only_read {
                    waker.notify_one();
                }
            })?;
        for directory in directories {
            watcher
                .watch(directory, RecursiveMode::NonRecursive)
                .with_context(|| format!("cannot watch \"{}\"", directory.display()))?;
        }
        Ok(Self {
            changed,
            _watcher: watcher,
        })
    }

    /// Returns after a change since the last call, once the changes have calmed down.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
        while tokio::time::timeout(DEBOUNCE, self.changed.notified())
            .await
            .is_ok()
        {}
    }
}
