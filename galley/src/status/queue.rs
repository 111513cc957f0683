//! Objects that wait to be written, those that changed last first. Synchronous and without clock.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;

/// Every so often the oldest goes first, so that it is written too while others keep changing.
const OLDEST_EVERY: u64 = 8;

/// What waits, and what is being worked on.
#[derive(Debug)]
pub(super) struct Queue<K> {
    waiting: BTreeMap<u64, K>,
    places: HashMap<K, u64>,
    running: HashMap<K, Running>,
    /// What failed and is to be tried again.
    failed: BTreeSet<K>,
    next_place: u64,
    taken: u64,
    running_max: usize,
}

#[derive(Debug, Default)]
struct Running {
    /// It has changed since it was taken.
    again: bool,
}

impl<K: Clone + Ord + Hash> Queue<K> {
    /// An empty queue from which at most `running_max` are taken at once.
    pub(super) fn new(running_max: usize) -> Self {
        Self {
            waiting: BTreeMap::new(),
            places: HashMap::new(),
            running: HashMap::new(),
            failed: BTreeSet::new(),
            next_place: 0,
            taken: 0,
            running_max,
        }
    }

    /// Something changed and goes first now.
    pub(super) fn push(&mut self, key: K) {
        self.failed.remove(&key);
        if let Some(running) = self.running.get_mut(&key) {
            running.again = true;
            return;
        }
        let place = self.next_place;
        self.next_place += 1;
        if let Some(before) = self.places.insert(key.clone(), place) {
            self.waiting.remove(&before);
        }
        self.waiting.insert(place, key);
    }

    /// The next to be worked on, until [`done`](Self::done) or [`failed`](Self::failed) is told.
    pub(super) fn take(&mut self) -> Option<K> {
        if self.running.len() >= self.running_max {
            return None;
        }
        self.taken += 1;
        let taken = match self.taken.is_multiple_of(OLDEST_EVERY) {
            true => self.waiting.pop_first(),
            false => self.waiting.pop_last(),
        };
        let (_, key) = taken?;
        self.places.remove(&key);
        self.running.insert(key.clone(), Running::default());
        Some(key)
    }

    /// Something has been worked on.
    pub(super) fn done(&mut self, key: K) {
        if self
            .running
            .remove(&key)
            .is_some_and(|running| running.again)
        {
            self.push(key);
        }
    }

    /// Something could not be worked on and waits for [`retry`](Self::retry), unless it has changed meanwhile.
    pub(super) fn failed(&mut self, key: K) {
        match self.running.remove(&key) {
            Some(Running { again: true }) => self.push(key),
            _ => {
                self.failed.insert(key);
            }
        }
    }

    /// Everything that failed waits with the others again.
    pub(super) fn retry(&mut self) {
        for key in std::mem::take(&mut self.failed) {
            self.push(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(queue: &mut Queue<u32>, count: usize) -> Vec<u32> {
        let taken = (0..count).map_while(|_| queue.take());
        taken.collect()
    }

    #[test]
    fn what_changed_last_goes_first_and_the_oldest_is_not_forgotten() {
        let mut queue = Queue::new(100);
        (0..20).for_each(|key| queue.push(key));
        queue.push(3);
        assert_eq!(taken(&mut queue, 8), [3, 19, 18, 17, 16, 15, 14, 0]);
        queue.push(20);
        assert_eq!(taken(&mut queue, 2), [20, 13]);
    }

    #[test]
    fn only_so_many_run_at_once() {
        let mut queue = Queue::new(2);
        (0..3).for_each(|key| queue.push(key));
        assert_eq!(taken(&mut queue, 3), [2, 1]);
        queue.done(1);
        assert_eq!(taken(&mut queue, 3), [0]);
    }

    #[test]
    fn what_changes_while_it_runs_runs_once_more_afterwards() {
        let mut queue = Queue::new(2);
        queue.push(1);
        assert_eq!(queue.take(), Some(1));
        queue.push(1);
        queue.push(1);
        assert_eq!(queue.take(), None);
        queue.done(1);
        assert_eq!(queue.take(), Some(1));
        queue.done(1);
        assert_eq!(queue.take(), None);
    }

    #[test]
    fn what_failed_waits_for_the_retry_or_a_change() {
        let mut queue = Queue::new(2);
        queue.push(1);
        assert_eq!(queue.take(), Some(1));
        queue.failed(1);
        assert_eq!(queue.take(), None);
        queue.retry();
        assert_eq!(queue.take(), Some(1));
        queue.failed(1);
        queue.push(1);
        assert_eq!(queue.take(), Some(1));
    }
}
