//! Header edits.

use std::collections::BTreeMap;
use std::sync::Arc;

/// `Headers`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeaderOperations {
    /// On the way to the server.
    pub request: HeaderEdit,
    /// On the way back.
    pub response: HeaderEdit,
}

/// `HeaderOperations`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeaderEdit {
    /// Overwrite or add. Values may hold `%VARIABLES%`.
    pub set: BTreeMap<Arc<str>, Arc<str>>,
    /// Append.
    pub add: BTreeMap<Arc<str>, Arc<str>>,
    /// Remove.
    pub remove: Vec<Arc<str>>,
}

impl HeaderEdit {
    /// Nothing to do.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.add.is_empty() && self.remove.is_empty()
    }
}
