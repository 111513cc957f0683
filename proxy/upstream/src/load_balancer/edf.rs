//! Earliest deadline first: weighted round robin without bursts, as Envoy's `EdfScheduler`.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Picks entries in proportion to their weights.
#[derive(Debug, Default)]
pub(super) struct Edf {
    now: f64,
    order: u64,
    queue: BinaryHeap<Entry>,
}

#[derive(Debug)]
struct Entry {
    deadline: f64,
    order: u64,
    index: usize,
}

impl Edf {
    /// Entries `0..` with these weights, each positive, after `picks` picks: workers that build the same
    /// schedule must not all begin with the same entry.
    pub(super) fn new(weights: impl Iterator<Item = f64> + Clone, picks: usize) -> Self {
        let mut edf = Self::default();
        for (index, weight) in weights.clone().enumerate() {
            edf.add(index, weight);
        }
        let weights: Vec<f64> = weights.collect();
        for _ in 0..picks {
            edf.pick(|index| weights[index]);
        }
        edf
    }

    /// The next entry; it queues again with its present weight.
    pub(super) fn pick(&mut self, weight: impl Fn(usize) -> f64) -> Option<usize> {
        let entry = self.queue.pop()?;
        self.now = entry.deadline;
        self.add(entry.index, weight(entry.index));
        Some(entry.index)
    }

    fn add(&mut self, index: usize, weight: f64) {
        self.queue.push(Entry {
            deadline: self.now + 1.0 / weight,
            order: self.order,
            index,
        });
        self.order += 1;
    }
}

impl Ord for Entry {
    /// The earliest deadline is the greatest; of equal ones, the one that queued first.
    fn cmp(&self, other: &Self) -> Ordering {
        other
            .deadline
            .total_cmp(&self.deadline)
            .then(other.order.cmp(&self.order))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_has_each_entry_by_its_weight() {
        let weights = [1.0, 2.0, 3.0];
        let mut edf = Edf::new(weights.iter().copied(), 0);
        let picks: Vec<usize> = (0..6)
            .filter_map(|_| edf.pick(|index| weights[index]))
            .collect();
        assert_eq!(picks, [2, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn nothing_to_pick_is_none() {
        assert_eq!(Edf::default().pick(|_| 1.0), None);
    }
}
