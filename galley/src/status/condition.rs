//! The `status` of an Istio kind (`IstioStatus`), from its report.
//!
//! `conditions` is one atomic list to the API server, so conditions of others are
//! written along as they were. `validationMessages` has no room for text, which
//! stands in the condition's message.

use k8s_openapi::jiff::Timestamp;
use mesh_api::diagnostic::{Diagnostic, Severity};
use serde_json::{Map, Value, json};

use super::report::Report;

/// Whether the newest version is in force.
const RECONCILED: &str = "Reconciled";

/// Room for a handful of findings; the rest is in `meshctl analyze`.
const MESSAGE_CHARS_MAX: usize = 1024;

/// The status to write, or nothing if the object has it already.
pub(super) fn outdated(report: &Report, now: Timestamp) -> Option<Value> {
    let wanted = wanted(report, now);
    (!is_same(&wanted, report.status())).then_some(wanted)
}

/// True if two statuses say the same, whenever they were written.
pub(super) fn is_same(one: &Value, other: &Value) -> bool {
    let timeless = |status: &Value| {
        let ours = own(status).cloned().map(without_time);
        let rest = ["observedGeneration", "validationMessages"].map(|field| status[field].clone());
        (ours, rest)
    };
    timeless(one) == timeless(other)
}

fn wanted(report: &Report, now: Timestamp) -> Value {
    let generation = report.observed.generation;
    let mut conditions: Vec<Value> = conditions(report.status())
        .filter(|condition| condition["type"] != RECONCILED)
        .cloned()
        .collect();
    conditions.push(condition(report, now));
    let mut status = json!({"observedGeneration": generation, "conditions": conditions});
    if !report.diagnostics.is_empty() {
        status["validationMessages"] = report.diagnostics.iter().map(message).collect();
    }
    status
}

fn condition(report: &Report, now: Timestamp) -> Value {
    let (status, reason) = match report.refused {
        true => ("False", "Quarantined"),
        false => ("True", "Accepted"),
    };
    let before = own(report.status()).filter(|before| before["status"] == status);
    let since = before.map(|before| before["lastTransitionTime"].clone());
    let since = since.filter(Value::is_string);
    json!({
        "type": RECONCILED,
        "status": status,
        "reason": reason,
        "message": text(&report.diagnostics),
        "observedGeneration": report.observed.generation,
        "lastTransitionTime": since.unwrap_or_else(|| json!(now.strftime("%FT%TZ").to_string())),
    })
}

fn conditions(status: &Value) -> impl Iterator<Item = &Value> {
    status["conditions"].as_array().into_iter().flatten()
}

fn own(status: &Value) -> Option<&Value> {
    conditions(status).find(|condition| condition["type"] == RECONCILED)
}

fn without_time(condition: Value) -> Map<String, Value> {
    let mut fields = match condition {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    fields.remove("lastTransitionTime");
    fields
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
    let lines: Vec<String> = sorted.into_iter().map(line).collect();
    let whole = lines.join("\n");
    match whole.char_indices().nth(MESSAGE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &whole[..end]),
        None => whole,
    }
}

fn line(diagnostic: &Diagnostic) -> String {
    let Diagnostic {
        code,
        severity,
        field,
        message,
        ..
    } = diagnostic;
    match field.as_str() {
        "" => format!("{severity}[{code}]: {message}"),
        field => format!("{severity}[{code}] {field}: {message}"),
    }
}

#[cfg(test)]
mod tests;
