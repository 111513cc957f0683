//! Findings across objects: what is legal by itself and still cannot work.
//!
//! Codes and levels are Istio's (`pkg/config/analysis/msg/messages.yaml`). Nothing
//! here refuses an object, since objects may arrive in any order; one analyzer for
//! each file.
//!
//! An analyzer sees one object and asks for [facts](fact) about the others. What it
//! asked for is remembered, and the object is analyzed again when it has changed or
//! one of these facts has.

mod conflicting_host;
mod default_policies;
mod fact;
mod facts;
mod gateway;
mod hosts;
mod injection;
mod near;
mod port_name;
mod reader;
mod references;
mod selection;
mod served;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mesh_api::diagnostic::{Diagnostic, Severity};
use mesh_api::resource::ResourceKey;

use self::fact::{Fact, SHOWN_MAX, Touched};
use self::facts::Facts;
use self::reader::Reader;
use crate::decode::finding::Finding;
use crate::depend::Dependencies;
use crate::manifest::path::FieldPath;
use crate::object::Object;
use crate::store::{Changed, Store};

/// Codes that an object does not want to hear of, separated by commas; `*` for all.
const SUPPRESS: &str = "galley.istio.io/analyze-suppress";

/// Kinds that there may be something to say about.
const SUBJECTS: [&str; 8] = [
    "VirtualService",
    "DestinationRule",
    "Gateway",
    "Sidecar",
    "Telemetry",
    "PeerAuthentication",
    "Service",
    "Namespace",
];

/// Facts, and which objects have been analyzed with which of them.
#[derive(Debug, Default)]
pub(crate) struct Analysis {
    facts: Facts,
    dependencies: Dependencies<ResourceKey, Fact>,
}

/// Findings of the objects that were analyzed, none of those that are gone.
pub(crate) type Analyzed = BTreeMap<ResourceKey, Vec<Diagnostic>>;

impl Analysis {
    /// Analyzes what a change concerns.
    pub(crate) fn update(&mut self, changed: &Changed, store: &Store) -> Analyzed {
        let mut touched = Vec::new();
        for (key, before) in &changed.objects {
            let (before, after) = (before.as_deref(), store.get(key).map(|object| &**object));
            self.facts.change(key, before, after, &mut touched);
        }
        self.facts.settle(&mut touched);
        let own = changed.objects.keys();
        let mut subjects: BTreeSet<ResourceKey> =
            own.filter(|key| is_subject(key)).cloned().collect();
        for touched in &touched {
            match touched {
                Touched::One(fact) => subjects.extend(self.dependencies.readers(fact).cloned()),
                Touched::Between(first, last) => {
                    let readers = self.dependencies.readers_between(first..=last);
                    subjects.extend(readers.cloned());
                }
            }
        }
        if changed.mesh {
            let all = SUBJECTS.iter().flat_map(|kind| store.of_kind(kind));
            subjects.extend(all.map(|object| object.meta.key.clone()));
        }
        subjects
            .into_iter()
            .map(|key| {
                let findings = self.analyze(&key, store);
                (key, findings)
            })
            .collect()
    }

    fn analyze(&mut self, key: &ResourceKey, store: &Store) -> Vec<Diagnostic> {
        let Some(object) = store.get(key) else {
            self.dependencies.remove(key);
            return Vec::new();
        };
        let reader = Reader::new(store, &self.facts);
        let mut report = Report::on(object);
        references::analyze(object, &reader, &mut report);
        gateway::analyze(object, &reader, &mut report);
        conflicting_host::analyze(object, &reader, &mut report);
        default_policies::analyze(object, &reader, &mut report);
        port_name::analyze(object, &mut report);
        injection::analyze(object, &reader, &mut report);
        self.dependencies.set(key, reader.into_read());
        report.diagnostics
    }
}

fn is_subject(key: &ResourceKey) -> bool {
    SUBJECTS.contains(&&*key.kind)
}

/// Everything there is to say about the objects in force together.
pub(crate) fn analyze(changed: &Changed, store: &Store) -> Vec<Diagnostic> {
    let analyzed = Analysis::default().update(changed, store);
    analyzed.into_values().flatten().collect()
}

/// Collects findings about one object.
#[derive(Debug)]
struct Report<'a> {
    object: &'a Object,
    diagnostics: Vec<Diagnostic>,
}

impl<'a> Report<'a> {
    fn on(object: &'a Object) -> Self {
        Self {
            object,
            diagnostics: Vec::new(),
        }
    }

    fn add(
        &mut self,
        (code, severity): (&'static str, Severity),
        path: &FieldPath<'_>,
        message: String,
        suggestion: Option<String>,
    ) {
        let object = self.object;
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

/// `a, b, c`, at most a handful. How many more there are is not said: it would change with every one of them.
fn list(names: &[Arc<str>]) -> String {
    let shown: Vec<&str> = names.iter().take(SHOWN_MAX).map(|name| &**name).collect();
    match names.len() > SHOWN_MAX {
        true => format!("{} and others", shown.join(", ")),
        false => shown.join(", "),
    }
}

/// The names without one's own.
fn without(names: Vec<Arc<str>>, own: &str) -> Vec<Arc<str>> {
    names.into_iter().filter(|name| **name != *own).collect()
}

#[cfg(test)]
mod tests;
