//! Looking at files once, for the command line: nothing is watched, nothing kept.

use std::path::PathBuf;
use std::sync::Arc;

use mesh_api::diagnostic::Diagnostic;
use mesh_api::mesh_config::MeshConfig;
use mesh_api::snapshot::Snapshot;

use crate::manifest::{self, Document};
use crate::pipeline::{judge, once};
use crate::store::Store;

/// What is wrong with each object of these files and directories by itself, as the
/// admission webhook would say it.
pub fn check_files(paths: &[PathBuf]) -> Vec<Diagnostic> {
    let (documents, diagnostics) = manifest::read_all(paths);
    judge(documents, diagnostics, MeshConfig::default())
}

/// The same for documents that are already taken apart.
pub fn check_documents(documents: Vec<Document>) -> Vec<Diagnostic> {
    judge(documents, Vec::new(), MeshConfig::default())
}

/// The same for one object in a mesh with these settings.
pub(crate) fn check_in(mesh: &MeshConfig, document: Document) -> Vec<Diagnostic> {
    let store = Store::new(mesh.clone());
    store.read(&Arc::new(document)).diagnostics
}

/// The same, and what is wrong with the objects together.
pub fn analyze(paths: &[PathBuf]) -> Vec<Diagnostic> {
    load(paths, MeshConfig::default()).1
}

/// The mesh that these files describe, and everything there is to say about them.
pub fn load(paths: &[PathBuf], mesh: MeshConfig) -> (Arc<Snapshot>, Vec<Diagnostic>) {
    let (documents, diagnostics) = manifest::read_all(paths);
    once(documents, diagnostics, mesh)
}
