//! What has arrived, so that retries, mirrors and balance can be seen at the server.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::Serialize;

/// The most keys that are kept; later ones count under "other".
const KEYS_MAX: usize = 10_000;

/// Counters of one server.
#[derive(Debug, Default)]
pub struct Counts {
    by_key: Mutex<BTreeMap<String, u64>>,
    connections: AtomicU64,
    active: AtomicU64,
    active_max: AtomicU64,
}

/// The counters at one moment, as `/counts` shows them.
#[derive(Debug, Serialize)]
pub struct View {
    total: u64,
    connections: u64,
    active_max: u64,
    by_key: BTreeMap<String, u64>,
}

/// A request in progress.
#[derive(Debug)]
pub struct Active<'a>(&'a Counts);

impl Counts {
    /// Counts a request under `key` and returns how many there are now.
    pub fn request(&self, key: &str) -> u64 {
        let mut by_key = self.by_key.lock().expect("no holder of this lock panics");
        let key = match by_key.len() < KEYS_MAX || by_key.contains_key(key) {
            true => key,
            false => "other",
        };
        let count = by_key.entry(key.to_owned()).or_default();
        *count += 1;
        *count
    }

    /// Counts a connection.
    pub fn connection(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    /// Marks a request as in progress until the guard is dropped.
    pub fn enter(&self) -> Active<'_> {
        let now = self.active.fetch_add(1, Ordering::Relaxed) + 1;
        self.active_max.fetch_max(now, Ordering::Relaxed);
        Active(self)
    }

    /// All requests so far.
    pub fn total(&self) -> u64 {
        let by_key = self.by_key.lock().expect("no holder of this lock panics");
        by_key.values().sum()
    }

    /// The counters now.
    pub fn view(&self) -> View {
        View {
            total: self.total(),
            connections: self.connections.load(Ordering::Relaxed),
            active_max: self.active_max.load(Ordering::Relaxed),
            by_key: self
                .by_key
                .lock()
                .expect("no holder of this lock panics")
                .clone(),
        }
    }

    /// Back to zero.
    pub fn reset(&self) {
        self.by_key
            .lock()
            .expect("no holder of this lock panics")
            .clear();
        self.connections.store(0, Ordering::Relaxed);
        self.active_max.store(0, Ordering::Relaxed);
    }
}

impl Drop for Active<'_> {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}
