//! Findings across objects: what is legal by itself and still cannot work.
//!
//! Codes are Istio's (`pkg/config/analysis/msg/messages.yaml`). Nothing here
//! refuses an object; objects may arrive in any order.

use mesh_api::diagnostic::Diagnostic;

use crate::store::Store;

/// Everything there is to say about the objects in force together.
pub(crate) fn analyze(_store: &Store) -> Vec<Diagnostic> {
    Vec::new()
}
