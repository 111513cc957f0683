//! Since when a proxy has had something else than it is to have: from the change of the mesh until the
//! proxy has acknowledged everything that follows from it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Configurations whose beginnings are remembered. A proxy that is further behind counts from the
/// oldest of them.
const KEPT: usize = 256;

/// When each of the last configurations came to be.
#[derive(Debug, Default)]
pub struct Changes(Mutex<VecDeque<(u64, Instant)>>);

impl Changes {
    /// A configuration is published; the first change in it was seen at `since`.
    pub(crate) fn published(&self, version: u64, since: Instant) {
        let mut all = self.lock();
        if all.len() == KEPT {
            all.pop_front();
        }
        all.push_back((version, since));
    }

    /// When the first change came that is not in the configuration `seen`.
    fn since(&self, seen: u64) -> Option<Instant> {
        let all = self.lock();
        let mut later = all.iter().filter(|(version, _)| *version > seen);
        later.next().map(|(_, since)| *since)
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(u64, Instant)>> {
        // Every write leaves the queue whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How far one proxy is.
#[derive(Debug, Default)]
pub(super) struct Progress {
    seen: u64,
    behind_since: Option<Instant>,
}

impl Progress {
    /// The proxy is given its first configuration, which is no change.
    pub(super) fn begin(&mut self, version: u64) {
        self.seen = version;
    }

    /// The proxy is compared with a configuration; `is_behind` says whether it lacks something of it.
    pub(super) fn follow(&mut self, version: u64, changes: &Changes, is_behind: bool) {
        if is_behind && self.behind_since.is_none() {
            self.behind_since = changes.since(self.seen);
        }
        self.seen = version;
    }

    /// The proxy has refused something, so it will not catch up.
    pub(super) fn give_up(&mut self) {
        self.behind_since = None;
    }

    /// The proxy has acknowledged everything. Returns how long that took, the first time.
    pub(super) fn caught_up(&mut self) -> Option<Duration> {
        self.behind_since.take().map(|since| since.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    #[test]
    fn a_proxy_that_skipped_configurations_is_behind_since_the_first_of_them() {
        let (start, changes) = (Instant::now(), Changes::default());
        for version in 2..5 {
            changes.published(version, after(start, version));
        }
        let since = [0, 1, 2, 4].map(|seen| changes.since(seen));
        let expected = [Some(2), Some(2), Some(3), None];
        assert_eq!(since, expected.map(|ms| ms.map(|ms| after(start, ms))));
    }

    #[test]
    fn old_configurations_are_forgotten() {
        let (start, changes) = (Instant::now(), Changes::default());
        for version in 0..=KEPT as u64 {
            changes.published(version, after(start, version));
        }
        assert_eq!(changes.lock().len(), KEPT);
        assert_eq!(changes.since(0), Some(after(start, 1)));
    }

    #[test]
    fn only_who_lacks_something_catches_up() {
        let (changes, mut progress) = (Changes::default(), Progress::default());
        progress.begin(1);
        changes.published(2, Instant::now());
        progress.follow(2, &changes, false);
        assert_eq!(progress.caught_up(), None);
        changes.published(3, Instant::now());
        progress.follow(3, &changes, true);
        assert!(progress.caught_up().is_some());
        assert_eq!(progress.caught_up(), None);
        changes.published(4, Instant::now());
        progress.follow(4, &changes, true);
        progress.give_up();
        assert_eq!(progress.caught_up(), None);
    }
}
