//! One step from changed documents to a new snapshot: apply, build, analyze. Each part
//! looks at what changed and at what depends on it, and says how much that was.

use std::collections::BTreeSet;
use std::sync::Arc;

use mesh_api::diagnostic::Diagnostic;
use mesh_api::mesh_config::MeshConfig;
use mesh_api::snapshot::Snapshot;

use crate::analyze::{Analysis, analyze};
use crate::findings::{Collector, Findings, Owner, sort};
use crate::manifest::Document;
use crate::snapshot::Builder;
use crate::source::Delta;
use crate::source::kube::{Cluster, Seen};
use crate::status::{Inputs, Reports};
use crate::store::{DocumentKey, Store};

/// What a step gave.
#[derive(Debug)]
pub(crate) struct Output {
    /// The next snapshot, if something changed.
    pub(crate) snapshot: Option<Arc<Snapshot>>,
    /// All findings in force.
    pub(crate) diagnostics: Arc<Findings>,
    /// Objects that are in force with an older version than the newest.
    pub(crate) quarantined: usize,
    /// Objects in force.
    pub(crate) objects: usize,
    /// What the step looked at.
    pub(crate) visited: Visited,
    /// Documents of which something else may be said than before.
    pub(crate) concerned: BTreeSet<DocumentKey>,
}

/// How many objects the parts of a step looked at, however many there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Visited {
    pub(crate) analysis: usize,
    pub(crate) derivation: usize,
}

/// The synchronous core of galley.
#[derive(Debug)]
pub(crate) struct Pipeline {
    store: Store,
    builder: Builder,
    analysis: Analysis,
    findings: Collector,
}

impl Pipeline {
    pub(crate) fn new(store: Store) -> Self {
        Self {
            store,
            builder: Builder::default(),
            analysis: Analysis::default(),
            findings: Collector::default(),
        }
    }

    /// Brings what goes back to the objects of `cluster` up to date, given what a step was about and what was seen
    /// besides. Returns how many objects it looked at.
    pub(crate) fn report(
        &self,
        reports: &mut Reports,
        cluster: &Cluster,
        concerned: BTreeSet<DocumentKey>,
        seen: Seen,
    ) -> usize {
        let inputs = Inputs {
            store: &self.store,
            cluster,
            feedback: self.builder.feedback(),
            findings: &self.findings,
        };
        reports.update(&inputs, concerned, seen)
    }

    /// Brings everything up to date. `findings` are the source's own, about what is
    /// no object.
    #[tracing::instrument(
        name = "reconcile",
        skip_all,
        fields(applied = delta.applied.len(), deleted = delta.deleted.len())
    )]
    pub(crate) fn apply(&mut self, delta: Delta, findings: &[Diagnostic]) -> Output {
        for key in &delta.deleted {
            self.store.delete(key);
        }
        for document in delta.applied {
            self.store.apply(document);
        }
        let mut changed = self.store.take_changes();
        let built = self.builder.build(&changed, &self.store);
        self.findings.set(Owner::Source, findings.to_vec());
        let mut concerned = std::mem::take(&mut changed.documents);
        for key in &concerned {
            let owner = Owner::Document(key.clone());
            self.findings.set(owner, self.store.findings(key));
        }
        let analyzed = self.analysis.update(&changed, &self.store);
        let visited = Visited {
            analysis: analyzed.len(),
            derivation: built.derived_from,
        };
        let mut said = built.feedback;
        for (key, findings) in analyzed {
            if self.findings.set(Owner::Object(key.clone()), findings) {
                said.insert(key);
            }
        }
        let objects = said.iter().filter_map(|key| self.store.get(key));
        concerned.extend(objects.map(|object| DocumentKey::of(&object.document)));
        Output {
            snapshot: built.snapshot,
            diagnostics: self.findings.publish(),
            quarantined: self.store.quarantined(),
            objects: self.store.len(),
            visited,
            concerned,
        }
    }
}

/// One pass over documents that are all there at once: the mesh, and what is wrong with the documents by
/// themselves and together.
pub(crate) fn once(
    documents: Vec<Document>,
    diagnostics: Vec<Diagnostic>,
    mesh: MeshConfig,
) -> (Arc<Snapshot>, Vec<Diagnostic>) {
    let (mut store, mut diagnostics) = each(documents, diagnostics, mesh);
    let changed = store.take_changes();
    let built = Builder::default().build(&changed, &store);
    let snapshot = built.snapshot.expect("the first snapshot is a change");
    diagnostics.extend(analyze(&changed, &store));
    sort(&mut diagnostics);
    (snapshot, diagnostics)
}

/// What is wrong with documents by themselves. No mesh is built of them, which costs more than to read them.
pub(crate) fn judge(
    documents: Vec<Document>,
    diagnostics: Vec<Diagnostic>,
    mesh: MeshConfig,
) -> Vec<Diagnostic> {
    let (_, mut diagnostics) = each(documents, diagnostics, mesh);
    sort(&mut diagnostics);
    diagnostics
}

/// Each document has its say, even if another one of the same name overrides it.
fn each(
    documents: Vec<Document>,
    mut diagnostics: Vec<Diagnostic>,
    mesh: MeshConfig,
) -> (Store, Vec<Diagnostic>) {
    let documents: Vec<Arc<Document>> = documents.into_iter().map(Arc::new).collect();
    let mut store = Store::new(mesh);
    for document in &documents {
        store.apply(document.clone());
    }
    let found = documents.iter();
    diagnostics.extend(found.flat_map(|document| store.read(document).diagnostics));
    (store, diagnostics)
}

#[cfg(test)]
mod tests;
