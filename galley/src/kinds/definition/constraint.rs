//! What a schema says beyond types.
//!
//! Choices are `oneOf`, which costs nothing however deep it stands; the API server
//! limits what expressions may cost, so these stand at the top of a kind only.
//! Nothing here is stricter than what reads the object, which gives the better messages.

use serde_json::{Value, json};

/// One of the fields, or none.
pub(crate) fn at_most_one(fields: &[&str]) -> Value {
    let each = || fields.iter().map(|field| json!({"required": [field]}));
    let none = json!({"not": {"anyOf": each().collect::<Vec<_>>()}});
    std::iter::once(none).chain(each()).collect()
}

/// A rule in the Common Expression Language.
pub(crate) fn rule(rule: &str, message: &str) -> Value {
    json!({"rule": rule, "message": message})
}

/// A policy is for pods by their labels, or for objects by their names.
pub(crate) fn one_target() -> Value {
    let count = "(has(self.selector) ? 1 : 0) + (has(self.targetRef) ? 1 : 0) + (has(self.targetRefs) ? 1 : 0)";
    rule(
        &format!("{count} <= 1"),
        "only one of selector, targetRef and targetRefs is possible",
    )
}
