//! The `status` to write for a report: of Istio's kinds (`IstioStatus`), and of kinds
//! that bring their own, with times and generations filled in.
//!
//! Istio's `conditions` is one atomic list to the API server, and so are a route's
//! `parents`: entries of others are written along as they were. `validationMessages` has no room for text, which
//! stands in the condition's message.

use k8s_openapi::jiff::Timestamp;
use mesh_api::diagnostic::{Diagnostic, Severity};
use serde_json::{Value, json};

use super::report::Report;
use crate::kind::Kind;
use crate::kinds::gateway_api::CONTROLLER;

/// Whether the newest version is in force.
const RECONCILED: &str = "Reconciled";

/// Room for a handful of findings; the rest is in `meshctl analyze`.
const MESSAGE_CHARS_MAX: usize = 1024;

/// The status to write, or nothing if the object has it already or gets none.
pub(super) fn outdated(report: &Report, now: Timestamp) -> Option<Value> {
    let mut wanted = match &report.feedback {
        Some(feedback) => feedback.status.clone(),
        None if report.kind.is_istio() => istio(report),
        None => return None,
    };
    let now = json!(now.strftime("%FT%TZ").to_string());
    stamp(
        &mut wanted,
        report.status(),
        report.observed.generation,
        &now,
    );
    keep_foreign(&mut wanted, report.status(), report.kind);
    (!is_same(&wanted, report.status())).then_some(wanted)
}

/// What others have written into lists that are one for all: a route's parents, and
/// the conditions of Istio's kinds.
fn keep_foreign(wanted: &mut Value, before: &Value, kind: Kind) {
    let (list, field, own) = match kind.is_istio() {
        true => ("conditions", "type", RECONCILED),
        false if kind.is_gateway_api() => ("parents", "controllerName", CONTROLLER),
        false => return,
    };
    if let Some(items) = wanted.get_mut(list).and_then(Value::as_array_mut) {
        let all = before[list].as_array().into_iter().flatten();
        items.extend(all.filter(|item| item[field] != own).cloned());
    }
}

/// True if `status` says everything that `wanted` does, whenever it was written.
pub(super) fn is_same(wanted: &Value, status: &Value) -> bool {
    match (wanted, status) {
        (Value::Object(fields), Value::Object(others)) => {
            let mut fields = fields.iter().filter(|(name, _)| *name != TIME);
            fields.all(|(name, value)| match others.get(name) {
                Some(other) => is_same(value, other),
                None => value.as_array().is_some_and(Vec::is_empty),
            })
        }
        (Value::Array(items), Value::Array(others)) => {
            items.len() == others.len()
                && items.iter().all(|item| {
                    others
                        .iter()
                        .any(|other| is_twin(item, other) && is_same(item, other))
                })
        }
        (one, other) => one == other,
    }
}

const TIME: &str = "lastTransitionTime";

/// Fills in every condition's generation and time; the time is that of the condition
/// before if it said the same.
fn stamp(value: &mut Value, before: &Value, generation: i64, now: &Value) {
    match value {
        Value::Object(fields) => {
            let is_condition = fields.contains_key("type") && fields.contains_key("status");
            if is_condition && !fields.contains_key(TIME) {
                let same = before["status"] == fields["status"] && before[TIME].is_string();
                let since = if same { &before[TIME] } else { now };
                fields.insert(TIME.to_owned(), since.clone());
                fields.insert("observedGeneration".to_owned(), json!(generation));
            }
            for (name, value) in fields {
                stamp(value, &before[name], generation, now);
            }
        }
        Value::Array(items) => {
            for item in items {
                let others = before.as_array();
                let twin =
                    others.and_then(|others| others.iter().find(|other| is_twin(item, other)));
                let twin = twin.cloned().unwrap_or_default();
                stamp(item, &twin, generation, now);
            }
        }
        _ => {}
    }
}

/// True if two items of a list are about the same: conditions by type, listeners by
/// name, a route's parents by reference and controller.
fn is_twin(one: &Value, other: &Value) -> bool {
    let identity = ["type", "name", "parentRef", "controllerName"];
    match (one.as_object(), other.as_object()) {
        (Some(_), Some(_)) => identity.iter().all(|field| one[field] == other[field]),
        _ => one == other,
    }
}

fn istio(report: &Report) -> Value {
    let (status, reason) = match report.refused {
        true => ("False", "Quarantined"),
        false => ("True", "Accepted"),
    };
    let condition = json!({
        "type": RECONCILED,
        "status": status,
        "reason": reason,
        "message": text(&report.diagnostics),
    });
    let messages: Value = report.diagnostics.iter().map(message).collect();
    json!({
        "observedGeneration": report.observed.generation,
        "conditions": [condition],
        "validationMessages": messages,
    })
}

fn message(diagnostic: &Diagnostic) -> Value {
    let level = match diagnostic.severity {
        Severity::Error => "ERROR",
        Severity::Warning => "WARNING",
        Severity::Info => "INFO",
    };
    json!({"type": {"code": diagnostic.code}, "level": level})
}

/// Findings as one line each, errors first.
pub(super) fn text(diagnostics: &[Diagnostic]) -> String {
    let mut sorted: Vec<&Diagnostic> = diagnostics.iter().collect();
    sorted.sort_by_key(|diagnostic| std::cmp::Reverse(diagnostic.severity));
    let lines: Vec<String> = sorted.into_iter().map(Diagnostic::brief).collect();
    let whole = lines.join("\n");
    match whole.char_indices().nth(MESSAGE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &whole[..end]),
        None => whole,
    }
}

#[cfg(test)]
mod tests;
