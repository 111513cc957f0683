//! Who has read what, so that a change leads to those that have to be computed again and to nobody else.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// Units of work, each with the inputs that it read when it was last computed.
#[derive(Debug)]
pub(crate) struct Dependencies<U, I> {
    reads: HashMap<U, Vec<Arc<I>>>,
    readers: BTreeMap<Arc<I>, BTreeSet<U>>,
}

impl<U, I> Default for Dependencies<U, I> {
    fn default() -> Self {
        Self {
            reads: HashMap::new(),
            readers: BTreeMap::new(),
        }
    }
}

impl<U: Clone + Ord + Hash, I: Ord> Dependencies<U, I> {
    /// Replaces what a unit has read.
    pub(crate) fn set(&mut self, unit: &U, inputs: BTreeSet<I>) {
        self.remove(unit);
        if inputs.is_empty() {
            return;
        }
        let mut reads = Vec::with_capacity(inputs.len());
        for input in inputs {
            let known = self.readers.get_key_value(&input);
            let input = known.map_or_else(|| Arc::new(input), |(known, _)| known.clone());
            let readers = self.readers.entry(input.clone()).or_default();
            readers.insert(unit.clone());
            reads.push(input);
        }
        self.reads.insert(unit.clone(), reads);
    }

    /// Forgets a unit.
    pub(crate) fn remove(&mut self, unit: &U) {
        for input in self.reads.remove(unit).into_iter().flatten() {
            if let Some(readers) = self.readers.get_mut(&input) {
                readers.remove(unit);
                if readers.is_empty() {
                    self.readers.remove(&input);
                }
            }
        }
    }

    /// The units that have read an input.
    pub(crate) fn readers(&self, input: &I) -> impl Iterator<Item = &U> {
        self.readers.get(input).into_iter().flatten()
    }

    /// The units that have read one of the inputs between two, both included.
    pub(crate) fn readers_between(&self, inputs: RangeInclusive<&I>) -> impl Iterator<Item = &U> {
        let readers = self.readers.range::<I, _>(inputs);
        readers.flat_map(|(_, readers)| readers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_found_by_what_it_read_last() {
        let mut all = Dependencies::default();
        all.set(&"a", BTreeSet::from([1, 2]));
        all.set(&"b", BTreeSet::from([2, 5]));
        let readers = |all: &Dependencies<&'static str, i32>, input| -> Vec<&str> {
            all.readers(&input).copied().collect()
        };
        assert_eq!(readers(&all, 2), ["a", "b"]);
        assert_eq!(all.readers_between(&3..=&9).collect::<Vec<_>>(), [&"b"]);
        all.set(&"a", BTreeSet::from([3]));
        assert_eq!(readers(&all, 1), Vec::<&str>::new());
        assert_eq!(readers(&all, 2), ["b"]);
        all.remove(&"a");
        all.remove(&"b");
        assert!(all.reads.is_empty() && all.readers.is_empty());
    }
}
