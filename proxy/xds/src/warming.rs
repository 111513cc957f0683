//! A version of a resource that waits for what it depends on.

use std::time::Instant;

/// The next version of a resource, not in force yet.
#[derive(Debug)]
pub(super) struct Warming<T> {
    /// The version.
    pub(super) next: T,
    /// When it comes into force whatever is missing.
    pub(super) deadline: Instant,
}

impl<T> Warming<T> {
    pub(super) fn new(next: T, deadline: Instant) -> Self {
        Self { next, deadline }
    }

    /// Whether it may come into force.
    pub(super) fn is_over(&self, complete: bool, now: Instant) -> bool {
        complete || now >= self.deadline
    }
}
