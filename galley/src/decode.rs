//! From the position tree to a wire struct, with every fault found at once.
//!
//! serde stops at the first error. Here a failing field is noted, left out, and
//! the object decoded again, so that one run names all faults of an object.

pub mod finding;
pub mod jsonpb;

mod access;
mod deserializer;
mod error;
pub(crate) mod suggest;

use serde::de::DeserializeOwned;

use self::deserializer::{Pass, ValueDeserializer};
use self::finding::{Finding, code};
use crate::manifest::node::Node;
use crate::manifest::path::FieldPath;
use crate::work::Budget;

/// An object with more faults than this is reported up to here.
const FAULTS_MAX: usize = 32;

/// Values that all passes over one object look at together before the last one: each fault takes another pass.
const VALUES_MAX: u64 = 100_000;

/// Decodes `node`, which stands at `path` of its object. The value is there only
/// if nothing was wrong; unknown fields are errors.
pub fn decode<T: DeserializeOwned>(
    node: &Node,
    path: &FieldPath<'_>,
    budget: &Budget,
) -> (Option<T>, Vec<Finding>) {
    let mut pass = Pass::default();
    let mut faults = Vec::new();
    let value = loop {
        let root = ValueDeserializer {
            node,
            path,
            pass: &pass,
        };
        let error = match T::deserialize(root) {
            Ok(value) => break Some(value),
            Err(error) => error.at(|| root.place()),
        };
        let place = error.place.expect("a place was just set");
        let at_root = path.is(&place.steps);
        let mut fault =
            Finding::error(code::SCHEMA, place.path.clone(), error.message).at(place.position);
        fault.suggestion = error.suggestion;
        faults.push(fault);
        let enough = faults.len() >= FAULTS_MAX || pass.values.get() >= VALUES_MAX;
        if at_root || enough || pass.skipped.contains(&place.steps) {
            break None;
        }
        pass.skipped.push(place.steps);
        pass.findings.borrow_mut().clear();
        pass.more.set(0);
    };
    // Whoever decodes asks for the end of the budget when all is done.
    let _ = budget.spend(pass.values.get());
    let unknown = pass.findings.into_inner();
    let more = unknown.last().map(|last| last.more(pass.more.get()));
    faults.extend(unknown);
    faults.extend(more.filter(|_| pass.more.get() > 0));
    faults.sort_by_key(|finding| finding.position);
    (value.filter(|_| faults.is_empty()), faults)
}

#[cfg(test)]
mod tests;
