//! Where objects come from. A source says which documents are there now and which
//! are gone; it knows nothing of their meaning.

pub mod directory;
pub mod kube;

use std::sync::Arc;

use crate::manifest::Document;
use crate::store::DocumentKey;

/// What changed in a source.
#[derive(Debug, Default, PartialEq)]
pub struct Delta {
    /// New documents and new versions.
    pub applied: Vec<Arc<Document>>,
    /// Documents that are gone.
    pub deleted: Vec<DocumentKey>,
}

impl Delta {
    /// Nothing changed.
    pub fn is_empty(&self) -> bool {
        self.applied.is_empty() && self.deleted.is_empty()
    }
}
