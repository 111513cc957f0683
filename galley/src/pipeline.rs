//! One step from changed documents to a new snapshot: apply, build, analyze.

use std::sync::Arc;

use mesh_api::diagnostic::Diagnostic;
use mesh_api::mesh_config::MeshConfig;
use mesh_api::resource::Origin;
use mesh_api::snapshot::Snapshot;

use crate::analyze::analyze;
use crate::manifest::Document;
use crate::snapshot::Builder;
use crate::source::Delta;
use crate::source::kube::Cluster;
use crate::status::Reports;
use crate::store::Store;

/// What a step gave.
#[derive(Debug)]
pub(crate) struct Output {
    /// The next snapshot, if something changed.
    pub(crate) snapshot: Option<Arc<Snapshot>>,
    /// All findings in force.
    pub(crate) diagnostics: Arc<Vec<Diagnostic>>,
    /// Objects that are in force with an older version than the newest.
    pub(crate) quarantined: usize,
    /// Objects in force.
    pub(crate) objects: usize,
}

/// The synchronous core of galley.
#[derive(Debug)]
pub(crate) struct Pipeline {
    store: Store,
    builder: Builder,
    diagnostics: Arc<Vec<Diagnostic>>,
    /// Findings across objects, computed only if something but endpoints changed.
    analysis: Vec<Diagnostic>,
}

impl Pipeline {
    pub(crate) fn new(store: Store) -> Self {
        Self {
            store,
            builder: Builder::default(),
            diagnostics: Arc::default(),
            analysis: Vec::new(),
        }
    }

    /// What goes back to the objects of `cluster`.
    pub(crate) fn reports(&self, cluster: &Cluster) -> Reports {
        let feedback = self.builder.feedback();
        Reports::collect(&self.store, cluster, feedback, &self.diagnostics)
    }

    /// Brings everything up to date. `findings` are the source's own, about what is
    /// no object.
    pub(crate) fn apply(&mut self, delta: Delta, findings: &[Diagnostic]) -> Output {
        for key in &delta.deleted {
            self.store.delete(key);
        }
        for document in delta.applied {
            self.store.apply(document);
        }
        let snapshot = self.builder.build(&mut self.store);
        if snapshot
            .as_ref()
            .is_some_and(|snapshot| !snapshot.changes.endpoints_only())
        {
            self.analysis = analyze(&self.store);
        }
        let mut diagnostics = findings.to_vec();
        diagnostics.extend(self.store.diagnostics());
        diagnostics.extend(self.analysis.iter().cloned());
        sort(&mut diagnostics);
        if *self.diagnostics != diagnostics {
            self.diagnostics = Arc::new(diagnostics);
        }
        Output {
            snapshot,
            diagnostics: self.diagnostics.clone(),
            quarantined: self.store.quarantined().count(),
            objects: self.store.objects().count(),
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
    let snapshot = Builder::default()
        .build(&mut store)
        .expect("the first snapshot is a change");
    diagnostics.extend(analyze(&store));
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

/// In the order in which one reads files; objects of a cluster by name.
fn sort(diagnostics: &mut [Diagnostic]) {
    let by_name = |one: &Diagnostic| match one.origin {
        Origin::Cluster { .. } => one.resource.clone(),
        _ => None,
    };
    let by_place = |one: &Diagnostic| match one.origin {
        Origin::Cluster { .. } => Origin::BuiltIn,
        _ => one.origin.clone(),
    };
    diagnostics.sort_by_cached_key(|one| {
        let what = (one.severity, one.field.clone(), one.code);
        (by_place(one), by_name(one), what)
    });
}
