//! When to act on a change: at once if it is alone, after the storm if it is one of many.
//!
//! Istio waits 100 ms after every change in case another follows. Here the first change after a
//! quiet time passes at once; only changes that follow closely are gathered.

use std::time::{Duration, Instant};

/// How changes are grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Debounce {
    /// Without a change for this long, the storm is over.
    pub quiet: Duration,
    /// In a storm, act at least this often.
    pub max: Duration,
}

impl Default for Debounce {
    fn default() -> Self {
        Self {
            quiet: Duration::from_millis(20),
            max: Duration::from_millis(500),
        }
    }
}

/// The state between changes. The clock is the caller's.
#[derive(Debug)]
pub struct Debouncer {
    settings: Debounce,
    /// When the last change came or was acted on.
    last: Option<Instant>,
    /// When the first change not yet acted on came.
    waiting_since: Option<Instant>,
}

impl Debouncer {
    /// A state in which nothing has happened yet.
    pub fn new(settings: Debounce) -> Self {
        Self {
            settings,
            last: None,
            waiting_since: None,
        }
    }

    /// Notes a change and says when to act on it: `now` if it is alone.
    pub fn on_change(&mut self, now: Instant) -> Instant {
        let alone = self
            .last
            .is_none_or(|last| now.saturating_duration_since(last) >= self.settings.quiet);
        self.last = Some(now);
        if alone && self.waiting_since.is_none() {
            return now;
        }
        let since = *self.waiting_since.get_or_insert(now);
        (now + self.settings.quiet).min(since + self.settings.max)
    }

    /// Notes that everything so far was acted on.
    pub fn on_acted(&mut self, now: Instant) {
        self.last = Some(now);
        self.waiting_since = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Debounce = Debounce {
        quiet: Duration::from_millis(20),
        max: Duration::from_millis(50),
    };

    fn after(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    #[test]
    fn a_lone_change_passes_at_once() {
        let start = Instant::now();
        let mut debouncer = Debouncer::new(SETTINGS);
        for ms in [0, 20, 100] {
            assert_eq!(debouncer.on_change(after(start, ms)), after(start, ms));
            debouncer.on_acted(after(start, ms));
        }
    }

    #[test]
    fn a_storm_is_acted_on_when_it_pauses() {
        let start = Instant::now();
        let mut debouncer = Debouncer::new(SETTINGS);
        debouncer.on_change(start);
        debouncer.on_acted(start);
        assert_eq!(debouncer.on_change(after(start, 5)), after(start, 25));
        assert_eq!(debouncer.on_change(after(start, 15)), after(start, 35));
        debouncer.on_acted(after(start, 35));
        assert_eq!(debouncer.on_change(after(start, 60)), after(start, 60));
    }

    #[test]
    fn an_endless_storm_is_acted_on_regularly() {
        let start = Instant::now();
        let mut debouncer = Debouncer::new(SETTINGS);
        debouncer.on_change(start);
        debouncer.on_acted(start);
        let deadlines = [10, 20, 30, 40, 50].map(|ms| debouncer.on_change(after(start, ms)));
        assert_eq!(deadlines, [30, 40, 50, 60, 60].map(|ms| after(start, ms)));
    }
}
