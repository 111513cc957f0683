//! What there is to say about each object of the cluster, ready to be written down.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use mesh_api::diagnostic::Diagnostic;
use mesh_api::resource::ResourceKey;
use serde_json::Value;

use crate::kind::{Handling, Kind, handling};
use crate::source::kube::{Cluster, Observed};
use crate::store::{DocumentKey, Store};

/// Reports on the objects that there is something to say about: all of Istio's
/// kinds, and what was refused of the others.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reports {
    pub(super) by_object: BTreeMap<DocumentKey, Arc<Report>>,
}

/// What there is to say about one object.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Report {
    pub(super) kind: Kind,
    /// The version in which the object was read.
    pub(super) api_version: String,
    /// Identity, generation and status as the API server has them.
    pub(super) observed: Observed,
    /// The newest version was refused.
    pub(super) refused: bool,
    /// All findings, of the object alone and together with others.
    pub(super) diagnostics: Vec<Diagnostic>,
}

impl Reports {
    pub(crate) fn collect(store: &Store, cluster: &Cluster, diagnostics: &[Diagnostic]) -> Self {
        let mut by_resource: HashMap<&ResourceKey, Vec<Diagnostic>> = HashMap::new();
        for diagnostic in diagnostics {
            if let Some(key) = &diagnostic.resource {
                by_resource.entry(key).or_default().push(diagnostic.clone());
            }
        }
        let newest = store.newest();
        let by_object = newest.filter_map(|(key, document, refused)| {
            let Handling::Model(kind) = handling(document.api_version(), document.kind()) else {
                return None;
            };
            if !refused && !kind.needs_definition() {
                return None;
            }
            let report = Report {
                kind,
                api_version: document.api_version().to_owned(),
                observed: cluster.observed(kind, key)?.clone(),
                refused,
                diagnostics: by_resource.remove(&key.object).unwrap_or_default(),
            };
            Some((key.clone(), Arc::new(report)))
        });
        Self {
            by_object: by_object.collect(),
        }
    }
}

impl Report {
    /// `status` as the API server has it.
    pub(super) fn status(&self) -> &Value {
        &self.observed.status
    }
}
