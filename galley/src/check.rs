//! Looking at files once, for the command line: nothing is watched, nothing kept.

use std::path::PathBuf;
use std::sync::Arc;

use mesh_api::diagnostic::Diagnostic;
use mesh_api::mesh_config::MeshConfig;
use mesh_api::snapshot::Snapshot;

use crate::manifest::{self, Document};
use crate::pipeline::once;

/// What is wrong with each object of these files and directories by itself, as the
/// admission webhook would say it.
pub fn check_files(paths: &[PathBuf]) -> Vec<Diagnostic> {
    let (documents, diagnostics) = manifest::read_all(paths);
    once(documents, diagnostics, MeshConfig::default(), false).1
}

/// The same for documents that are already taken apart.
pub fn check_documents(documents: Vec<Document>) -> Vec<Diagnostic> {
    once(documents, Vec::new(), MeshConfig::default(), false).1
}

/// The same in a mesh with these settings.
pub(crate) fn check_in(mesh: &MeshConfig, documents: Vec<Document>) -> Vec<Diagnostic> {
    once(documents, Vec::new(), mesh.clone(), false).1
}

/// The same, and what is wrong with the objects together.
pub fn analyze(paths: &[PathBuf]) -> Vec<Diagnostic> {
    load(paths, MeshConfig::default()).1
}

/// The mesh that these files describe, and everything there is to say about them.
pub fn load(paths: &[PathBuf], mesh: MeshConfig) -> (Arc<Snapshot>, Vec<Diagnostic>) {
    let (documents, diagnostics) = manifest::read_all(paths);
    once(documents, diagnostics, mesh, true)
}
