//! Reading manifests from files and directories.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use mesh_api::diagnostic::Diagnostic;
use mesh_api::resource::Origin;

use super::{Document, parse};
use crate::decode::finding::{Finding, code};

/// Larger files are refused: no hand-written manifest comes near.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// True for the names that count as manifests in a directory.
pub fn is_manifest(path: &Path) -> bool {
    let hidden = path
        .file_name()
        .and_then(|name| name.to_str())
        .is_none_or(|name| name.starts_with('.') || name.ends_with('~'));
    !hidden
        && path
            .extension()
            .and_then(|extension| extension.to_str())
            .is_some_and(|extension| {
                ["yaml", "yml", "json"]
                    .iter()
                    .any(|known| extension.eq_ignore_ascii_case(known))
            })
}

/// Reads one file. A file that cannot be read is a diagnostic like any other.
pub fn read_file(path: &Path) -> (Vec<Document>, Vec<Diagnostic>) {
    match read_text(path) {
        Ok(text) => parse(&path.to_string_lossy(), &text),
        Err(error) => (Vec::new(), vec![unreadable(path, &error)]),
    }
}

/// Reads a file that was listed before; `None` if it has been removed since.
pub(crate) fn read_listed(path: &Path) -> Option<(Vec<Document>, Vec<Diagnostic>)> {
    match read_text(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Ok(text) => Some(parse(&path.to_string_lossy(), &text)),
        Err(error) => Some((Vec::new(), vec![unreadable(path, &error)])),
    }
}

/// Reads files as given and directories recursively, in the order of their names.
pub fn read_all(paths: &[PathBuf]) -> (Vec<Document>, Vec<Diagnostic>) {
    let mut documents = Vec::new();
    let mut diagnostics = Vec::new();
    for path in paths {
        let files = match std::fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => list_files(path, &mut diagnostics),
            _ => BTreeSet::from([path.clone()]),
        };
        for file in files {
            let (read, faults) = read_file(&file);
            documents.extend(read);
            diagnostics.extend(faults);
        }
    }
    (documents, diagnostics)
}

/// All manifests under `directory`. Directories whose names begin with a dot are
/// passed over: Kubernetes keeps the real files of a mounted ConfigMap there and
/// links to them from outside.
pub(crate) fn list_files(directory: &Path, diagnostics: &mut Vec<Diagnostic>) -> BTreeSet<PathBuf> {
    let mut files = BTreeSet::new();
    let mut pending = vec![directory.to_owned()];
    let mut visited = BTreeSet::new();
    while let Some(directory) = pending.pop() {
        // A link back to a parent must not be followed for ever.
        match directory.canonicalize() {
            Ok(real) if visited.insert(real.clone()) => {}
            _ => continue,
        }
        let entries = match std::fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) => {
                diagnostics.push(unreadable(&directory, &error));
                continue;
            }
        };
        for path in entries.flatten().map(|entry| entry.path()) {
            let hidden = path
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with('.'));
            match std::fs::metadata(&path) {
                Ok(metadata) if metadata.is_dir() && !hidden => pending.push(path),
                Ok(metadata) if metadata.is_file() && is_manifest(&path) => {
                    files.insert(path);
                }
                _ => {}
            }
        }
    }
    files
}

fn read_text(path: &Path) -> io::Result<String> {
    if std::fs::metadata(path)?.len() > FILE_BYTES_MAX {
        return Err(io::Error::other(format!(
            "larger than {FILE_BYTES_MAX} bytes"
        )));
    }
    std::fs::read_to_string(path)
}

fn unreadable(path: &Path, error: &io::Error) -> Diagnostic {
    let origin = Origin::File {
        path: path.to_string_lossy().into(),
        line: 0,
        column: 0,
    };
    let message = format!("cannot read the file: {error}");
    Finding::error(code::UNREADABLE, String::new(), message).into_diagnostic(None, &origin)
}
