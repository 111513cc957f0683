//! What there is to say about each object of the cluster, ready to be written down.

use std::collections::BTreeSet;
use std::sync::Arc;

use mesh_api::diagnostic::Diagnostic;
use mesh_api::resource::ResourceKey;
use mesh_api::snapshot::Map;
use serde_json::Value;

use super::gateway_class;
use crate::findings::{self, Collector, Owner};
use crate::kind::{Handling, Kind, handling};
use crate::snapshot::{Feedback, Feedbacks};
use crate::source::kube::{Cluster, Observed, Seen};
use crate::store::{DocumentKey, Store};

/// Groups of which nothing is said unless it was refused.
const SILENT: [&str; 2] = ["", "discovery.k8s.io"];

/// Reports on the objects that there is something to say about: all of Istio's
/// kinds, those of the Gateway API that are ours, and what was refused of the others.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reports {
    /// The revision of the control plane.
    pub(super) revision: String,
    /// Nobody has made the class that Gateways name, see [`gateway_class`](super::gateway_class).
    pub(super) class_missing: bool,
    by_object: Map<DocumentKey, Entry>,
    /// Objects by the version in which their report changed last.
    by_version: Map<(u64, DocumentKey), ()>,
    version: u64,
}

#[derive(Debug, Clone, PartialEq)]
struct Entry {
    version: u64,
    report: Arc<Report>,
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
    /// What else goes back, for kinds that have a status of their own.
    pub(super) feedback: Option<Feedback>,
}

/// What reports are made from.
pub(crate) struct Inputs<'a> {
    pub(crate) store: &'a Store,
    pub(crate) cluster: &'a Cluster,
    pub(crate) feedback: &'a Feedbacks,
    pub(crate) findings: &'a Collector,
}

impl Reports {
    /// Nothing to say yet.
    pub(crate) fn new(revision: &str) -> Self {
        Self {
            revision: revision.to_owned(),
            ..Self::default()
        }
    }

    /// Makes the reports again that a change is about, or of which something else was seen. Returns how many objects
    /// that took.
    pub(crate) fn update(
        &mut self,
        inputs: &Inputs<'_>,
        mut concerned: BTreeSet<DocumentKey>,
        seen: Seen,
    ) -> usize {
        let class = Kind::GatewayClass;
        concerned.extend(seen.objects);
        if seen.kinds
            || concerned
                .iter()
                .any(|key| *key.object.kind == *class.name())
        {
            self.class_missing = inputs.cluster.lacks(class, gateway_class::NAME);
        }
        self.version += 1;
        let visited = concerned.len();
        for key in concerned {
            let report = inputs.report(&key);
            self.set(key, report);
        }
        visited
    }

    fn set(&mut self, key: DocumentKey, report: Option<Report>) {
        if let Some(before) = self.by_object.get(&key) {
            if Some(&*before.report) == report.as_ref() {
                return;
            }
            self.by_version.remove(&(before.version, key.clone()));
            self.by_object.remove(&key);
        }
        if let Some(report) = report.map(Arc::new) {
            let version = self.version;
            self.by_version.insert((version, key.clone()), ());
            self.by_object.insert(key, Entry { version, report });
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_object.len()
    }

    /// The report on an object.
    pub(super) fn get(&self, key: &DocumentKey) -> Option<&Arc<Report>> {
        self.by_object.get(key).map(|entry| &entry.report)
    }

    /// What is new in these reports or changed since earlier ones.
    pub(super) fn since(
        &self,
        earlier: &Self,
    ) -> impl Iterator<Item = (&DocumentKey, &Arc<Report>)> {
        // Versions count from one.
        let from = (earlier.version + 1, DocumentKey::first());
        let changed = self.by_version.range(from..);
        changed.filter_map(|((_, key), ())| Some((key, self.get(key)?)))
    }
}

impl Inputs<'_> {
    fn report(&self, key: &DocumentKey) -> Option<Report> {
        let (document, refused) = self.store.newest(key)?;
        // Most objects are pods and endpoints, and there is nothing to say about them.
        if !refused && SILENT.contains(&&*key.group) {
            return None;
        }
        let kind = match handling(document.api_version(), document.kind()) {
            Handling::Model(kind) => kind,
            _ => return None,
        };
        let object = resource(kind, key);
        let feedback = self.feedback.get(&object).filter(|_| !refused).cloned();
        if !refused && !kind.is_istio() && feedback.is_none() {
            return None;
        }
        Some(Report {
            kind,
            api_version: document.api_version().to_owned(),
            observed: self.cluster.observed(kind, key)?.clone(),
            refused,
            diagnostics: self.findings(key, object),
            feedback,
        })
    }

    /// The findings of an object, alone and together with others.
    fn findings(&self, key: &DocumentKey, object: ResourceKey) -> Vec<Diagnostic> {
        let alone = self.findings.of(&Owner::Document(key.clone()));
        let together = self.findings.of(&Owner::Object(object));
        let all = alone.iter().chain(together);
        let mut all: Vec<Diagnostic> = all.map(|one| (**one).clone()).collect();
        findings::sort(&mut all);
        all
    }
}

impl Report {
    /// `status` as the API server has it.
    pub(super) fn status(&self) -> &Value {
        &self.observed.status
    }
}

/// The object's name in the model.
fn resource(kind: Kind, key: &DocumentKey) -> ResourceKey {
    let namespace = match kind.is_cluster_wide() {
        true => "",
        false => &key.object.namespace,
    };
    ResourceKey::new(kind.model_name(), namespace, &key.object.name)
}
