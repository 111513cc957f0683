//! Findings across objects: what is legal by itself and still cannot work.
//!
//! Codes and levels are Istio's (`pkg/config/analysis/msg/messages.yaml`). Nothing
//! here refuses an object, since objects may arrive in any order; one analyzer for
//! each file.

mod conflicting_host;
mod default_policies;
mod gateway;
mod hosts;
mod injection;
mod port_name;
mod references;

use std::collections::BTreeSet;

use mesh_api::diagnostic::{Diagnostic, Severity};

use crate::decode::finding::Finding;
use crate::manifest::path::FieldPath;
use crate::object::Object;
use crate::store::Store;

/// Codes that an object does not want to hear of, separated by commas; `*` for all.
const SUPPRESS: &str = "galley.istio.io/analyze-suppress";

/// Everything there is to say about the objects in force together.
pub(crate) fn analyze(store: &Store) -> Vec<Diagnostic> {
    let mut report = Report::default();
    let hosts = hosts::Hosts::of(store);
    references::analyze(store, &hosts, &mut report);
    gateway::analyze(store, &mut report);
    conflicting_host::analyze(store, &mut report);
    default_policies::analyze(store, &mut report);
    port_name::analyze(store, &mut report);
    injection::analyze(store, &mut report);
    report.diagnostics
}

/// Collects findings about objects.
#[derive(Debug, Default)]
struct Report {
    diagnostics: Vec<Diagnostic>,
}

impl Report {
    fn add(
        &mut self,
        object: &Object,
        (code, severity): (&'static str, Severity),
        path: &FieldPath<'_>,
        message: String,
        suggestion: Option<String>,
    ) {
        let suppressed = object.meta.annotations.get(SUPPRESS).is_some_and(|codes| {
            codes
                .split(',')
                .map(str::trim)
                .any(|one| one == code || one == "*")
        });
        if suppressed {
            return;
        }
        let position = path.position_in(&object.document.node);
        let mut finding = Finding::error(code, path.to_string(), message).at(position);
        finding.severity = severity;
        finding.suggestion = suggestion;
        let key = Some(object.meta.key.clone());
        self.diagnostics
            .push(object.document.diagnostic(finding, key));
    }
}

/// `a, b and c`, at most a handful.
fn list(names: &BTreeSet<String>) -> String {
    const SHOWN_MAX: usize = 5;
    let shown: Vec<&str> = names.iter().take(SHOWN_MAX).map(String::as_str).collect();
    match names.len().checked_sub(SHOWN_MAX) {
        Some(more) if more > 0 => format!("{} and {more} more", shown.join(", ")),
        _ => shown.join(", "),
    }
}

#[cfg(test)]
mod tests;
