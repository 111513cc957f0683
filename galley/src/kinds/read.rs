//! Reading an object: decoded to its kind's wire struct, then parsed and checked in one step.

use mesh_api::resource::Meta;
use serde::de::DeserializeOwned;

use super::descriptor::{Descriptor, Layout};
use super::findings::Findings;
use super::metadata;
use super::scope::{Context, Scope};
use super::stand_in;
use crate::decode::decode;
use crate::decode::finding::{FINDINGS_MAX, Finding, code, quoted};
use crate::decode::suggest::did_you_mean;
use crate::manifest::Document;
use crate::manifest::node::Value;
use crate::manifest::path::FieldPath;
use crate::work::Budget;

/// A kind, as its wire struct.
pub(crate) trait Read: DeserializeOwned + Default {
    /// Its names.
    const KIND: Descriptor;

    /// What stands in for a refused object of which no good version is known; for kinds that close something.
    const STAND_IN: Option<stand_in::Make> = None;

    /// What the object means; optional for kinds some of whose objects mean nothing to the mesh.
    type Model;

    /// Parses the object and reports what is wrong with it. Nothing is returned without an error in `findings`; a
    /// model beside an error is not used.
    fn read(&self, scope: &Scope<'_>, findings: &mut Findings<'_>) -> Option<Self::Model>;

    /// A small legal value. Tests grow each of its fields in turn, with items that look like the first one here.
    #[cfg(any(test, feature = "test-util"))]
    fn sample() -> serde_json::Value {
        serde_json::json!({})
    }
}

/// Reads a document whose metadata has been read before.
pub(super) fn read<T: Read>(
    document: &Document,
    meta: Option<&Meta>,
    context: &Context<'_>,
    findings: &mut Vec<Finding>,
) -> Option<T::Model> {
    let (wire, faults) = match T::KIND.layout {
        Layout::Whole => decode_whole::<T>(document, context.budget),
        Layout::Spec => decode_spec::<T>(document, context.budget),
    };
    findings.extend(faults);
    let (meta, wire) = (meta?, wire?);
    let scope = Scope::new(meta, document, context);
    let mut found = Findings::new(&document.node, context.budget);
    metadata::check(meta, T::KIND.names, &mut found);
    let model = wire.read(&scope, &mut found);
    let valid = !found.has_errors();
    debug_assert!(model.is_some() || !valid, "refused without a reason");
    findings.extend(found.into_vec());
    model.filter(|_| valid)
}

/// Kubernetes kinds have their fields at the top. Faults of `metadata` have been reported before.
fn decode_whole<T: DeserializeOwned>(
    document: &Document,
    budget: &Budget,
) -> (Option<T>, Vec<Finding>) {
    let (value, mut findings) = decode::<T>(&document.node, &FieldPath::ROOT, budget);
    let valid = findings.is_empty();
    findings.retain(|finding| !finding.path.starts_with("metadata."));
    (value.filter(|_| valid), findings)
}

/// Custom resources are `metadata`, `spec` and a `status` that is not ours to read.
fn decode_spec<T: DeserializeOwned + Default>(
    document: &Document,
    budget: &Budget,
) -> (Option<T>, Vec<Finding>) {
    let mut findings = unknown_fields(document);
    let path = FieldPath::ROOT.field("spec");
    let value = match document.node.get("spec") {
        Some(node) if node.value != Value::Null => {
            let (value, faults) = decode::<T>(node, &path, budget);
            findings.extend(faults);
            value
        }
        _ => Some(T::default()),
    };
    (value, findings)
}

fn unknown_fields(document: &Document) -> Vec<Finding> {
    const FIELDS: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];
    let Value::Map(entries) = &document.node.value else {
        return Vec::new();
    };
    let unknown = entries
        .iter()
        .filter(|entry| !FIELDS.contains(&entry.key.as_str()));
    let mut findings = Vec::new();
    for entry in unknown.clone().take(FINDINGS_MAX) {
        let message = format!("unknown field {}", quoted(&entry.key));
        let path = FieldPath::ROOT.field(&entry.key).to_string();
        let mut finding = Finding::error(code::SCHEMA, path, message).at(entry.key_position);
        finding.suggestion = did_you_mean(&entry.key, &FIELDS)
            .or_else(|| Some("fields of the kind belong under \"spec\"".to_owned()));
        findings.push(finding);
    }
    let more = unknown.skip(FINDINGS_MAX).count();
    if let Some(last) = findings.last().filter(|_| more > 0) {
        findings.push(last.more(more));
    }
    findings
}
