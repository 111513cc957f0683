//! What one side of a stream has asked for, of one resource type.

use std::collections::BTreeSet;
use std::sync::Arc;

/// The name that subscribes to everything.
pub const WILDCARD: &str = "*";

/// The resources of one type that a client wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscription {
    wildcard: bool,
    names: BTreeSet<Arc<str>>,
    /// Of all names.
    bytes: usize,
}

impl Subscription {
    /// A subscription to everything.
    pub fn wildcard() -> Self {
        Self {
            wildcard: true,
            ..Self::default()
        }
    }

    /// Whether everything is wanted.
    pub fn is_wildcard(&self) -> bool {
        self.wildcard
    }

    /// The names that are wanted by name.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }

    /// Whether nothing at all is wanted.
    pub fn is_empty(&self) -> bool {
        !self.wildcard && self.names.is_empty()
    }

    /// Whether a resource of this name is wanted.
    pub fn wants(&self, name: &str) -> bool {
        self.wildcard || self.names.contains(name)
    }

    /// Whether a resource of this name is wanted by its name.
    pub fn contains(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// The number of names, and their bytes.
    pub fn size(&self) -> (usize, usize) {
        (self.names.len(), self.bytes)
    }

    /// Adds a name, or everything with [`WILDCARD`]. Returns whether that changed something.
    pub fn add(&mut self, name: impl Into<Arc<str>> + AsRef<str>) -> bool {
        if name.as_ref() == WILDCARD {
            return !std::mem::replace(&mut self.wildcard, true);
        }
        if self.names.contains(name.as_ref()) {
            return false;
        }
        self.bytes += name.as_ref().len();
        self.names.insert(name.into())
    }

    /// Takes a name, or the wildcard, back. Returns whether that changed something.
    pub fn remove(&mut self, name: &str) -> bool {
        if name == WILDCARD {
            return std::mem::replace(&mut self.wildcard, false);
        }
        let removed = self.names.remove(name);
        if removed {
            self.bytes -= name.len();
        }
        removed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_wanted_until_it_is_taken_back() {
        let mut subscription = Subscription::default();
        assert!(subscription.is_empty());
        assert!(subscription.add("a"));
        assert!(!subscription.add("a"));
        assert!(subscription.wants("a") && !subscription.wants("b"));
        assert_eq!(subscription.size(), (1, 1));
        assert!(subscription.remove("a"));
        assert_eq!(subscription.size(), (0, 0));
        assert!(!subscription.remove("a"));
        assert!(subscription.is_empty());
    }

    #[test]
    fn the_wildcard_and_names_are_independent() {
        let mut subscription = Subscription::wildcard();
        subscription.add("a");
        assert!(subscription.wants("b"));
        subscription.remove(WILDCARD);
        assert!(subscription.wants("a") && !subscription.wants("b"));
    }
}
