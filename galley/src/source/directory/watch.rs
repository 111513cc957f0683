//! Being told that something changed in a directory.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// A write that was not closed yet is left this long to end.
const QUIET: Duration = Duration::from_millis(15);

/// A storm of changes is read at least this often.
const STORM_MAX: Duration = Duration::from_millis(150);

/// Missed events (overflow, remounts, exotic file systems) are made up for this
/// often.
const RESCAN: Duration = Duration::from_secs(10);

/// Wakes up when the directories changed.
#[derive(Debug)]
pub(crate) struct Changed {
    signal: Arc<Notify>,
    last: Option<Instant>,
    /// Ends the watch when dropped.
    _watcher: RecommendedWatcher,
}

/// Watches directories recursively.
pub(crate) fn watch(paths: &[PathBuf]) -> notify::Result<Changed> {
    let signal = Arc::new(Notify::new());
    let sender = signal.clone();
    // The callback runs on the watcher's own thread.
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.map_or(true, |event| matters(&event.kind)) {
            sender.notify_one();
        }
    })?;
    for path in paths {
        watcher.watch(path, RecursiveMode::Recursive)?;
    }
    Ok(Changed {
        signal,
        last: None,
        _watcher: watcher,
    })
}

impl Changed {
    /// Returns once it is time to read the directories again: at once for a lone
    /// change, after the storm for many, at `latest` without any.
    pub(crate) async fn next(&mut self, latest: Option<Instant>) {
        let rescan = Instant::now() + RESCAN;
        let wait = latest.map_or(rescan, |latest| latest.min(rescan));
        let signaled = timeout_at(wait, self.signal.notified()).await.is_ok();
        let storm = self.last.is_some_and(|last| last.elapsed() < QUIET);
        if signaled && storm {
            let end = Instant::now() + STORM_MAX;
            loop {
                let quiet = (Instant::now() + QUIET).min(end);
                let more = timeout_at(quiet, self.signal.notified()).await.is_ok();
                if !more || Instant::now() >= end {
                    break;
                }
            }
        }
        self.last = Some(Instant::now());
    }
}

/// Reading a file is an event too, and would make an endless loop.
fn matters(kind: &EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        _ => true,
    }
}
