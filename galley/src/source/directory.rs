//! Directories of manifests, read again on every change.
//!
//! Reading is synchronous and separate from watching: [`Directories::scan`]
//! compares what is there with what was there. A file that is not wholly readable
//! loses none of its objects: whoever is in the middle of an edit does not mean to
//! delete what stands behind the broken line. For the same reason an object that a
//! file loses while it is written in place is deleted only [`REMOVAL_DELAY`] later:
//! such a file is empty for a moment. Files that are removed or replaced by renaming
//! are whole at any time.

mod watch;

pub(crate) use self::watch::{Changed, watch};

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use mesh_api::diagnostic::{Diagnostic, Severity};

use super::Delta;
use crate::decode::finding::{Finding, code};
use crate::kind::{Handling, handling};
use crate::manifest::{self, Document};
use crate::store::DocumentKey;

/// Timestamps are coarser than writes: a file changed this recently is read again
/// even if its timestamp is the same.
const SETTLED_AFTER: Duration = Duration::from_secs(1);

/// How long an object must be missing from a file that is written in place until it is deleted.
const REMOVAL_DELAY: Duration = Duration::from_secs(1);

/// Several directories; on the same object the later one overrides the earlier.
#[derive(Debug)]
pub struct Directories {
    paths: Vec<PathBuf>,
    files: BTreeMap<PathBuf, File>,
    published: BTreeMap<DocumentKey, Arc<Document>>,
    diagnostics: Vec<Diagnostic>,
}

/// What was read from a file.
#[derive(Debug, Default)]
struct File {
    stamp: Option<Stamp>,
    documents: Vec<Arc<Document>>,
    /// Objects of an earlier version that a broken document may stand for.
    retained: Vec<Arc<Document>>,
    /// Objects that the file has lost while it was written in place, and when.
    missing: Vec<(Arc<Document>, Instant)>,
    inode: Option<u64>,
    diagnostics: Vec<Diagnostic>,
}

/// Tells versions of a file apart without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    len: u64,
    changed: (i64, i64),
}

impl Directories {
    /// Directories that were not read yet.
    pub fn new(paths: Vec<PathBuf>) -> Self {
        Self {
            paths,
            files: BTreeMap::new(),
            published: BTreeMap::new(),
            diagnostics: Vec::new(),
        }
    }

    /// The directories.
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// Findings of the last scan about files rather than objects.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// When to scan again although nothing has changed: objects are missing.
    pub fn next_scan(&self) -> Option<Instant> {
        let missing = self.files.values().flat_map(|file| &file.missing);
        missing.map(|(_, since)| *since + REMOVAL_DELAY).min()
    }

    /// Reads what changed since the scan before.
    pub fn scan(&mut self, now: Instant) -> Delta {
        self.diagnostics.clear();
        let mut old = std::mem::take(&mut self.files);
        let mut listed = Vec::new();
        for directory in &self.paths {
            let files = manifest::list_files(directory, &mut self.diagnostics);
            listed.push(files.into_iter().collect::<Vec<_>>());
        }
        for path in listed.iter().flatten() {
            if !self.files.contains_key(path) {
                let Some(mut file) = read(path, old.remove(path), now) else {
                    continue;
                };
                file.missing
                    .retain(|(_, since)| now.duration_since(*since) < REMOVAL_DELAY);
                self.files.insert(path.clone(), file);
            }
        }
        let next = self.effective(&listed);
        let delta = difference(&self.published, &next);
        self.published = next;
        delta
    }

    /// The documents that count, and findings about those that do not.
    fn effective(&mut self, listed: &[Vec<PathBuf>]) -> BTreeMap<DocumentKey, Arc<Document>> {
        let mut all: BTreeMap<DocumentKey, Arc<Document>> = BTreeMap::new();
        for directory in listed {
            let mut own: BTreeMap<DocumentKey, Arc<Document>> = BTreeMap::new();
            for file in directory.iter().filter_map(|path| self.files.get(path)) {
                self.diagnostics.extend(file.diagnostics.iter().cloned());
                for document in file.retained.iter().chain(&file.documents) {
                    let key = DocumentKey::of(document);
                    if let Some(shadowed) = own.insert(key, document.clone()) {
                        self.diagnostics.push(duplicate(&shadowed, document));
                    }
                }
            }
            for file in directory.iter().filter_map(|path| self.files.get(path)) {
                for (document, _) in &file.missing {
                    own.entry(DocumentKey::of(document))
                        .or_insert_with(|| document.clone());
                }
            }
            all.extend(own);
        }
        all
    }
}

fn read(path: &Path, old: Option<File>, now: Instant) -> Option<File> {
    let stamp = stamp(path);
    let old = match old {
        Some(old) if stamp.is_some() && old.stamp == stamp => return Some(old),
        other => other.unwrap_or_default(),
    };
    let (documents, diagnostics) = manifest::read_listed(path)?;
    let documents: Vec<Arc<Document>> = documents.into_iter().map(Arc::new).collect();
    let keys: Vec<_> = documents
        .iter()
        .map(|document| DocumentKey::of(document))
        .collect();
    let is_lost = |document: &Arc<Document>| !keys.contains(&DocumentKey::of(document));
    let inode = std::fs::metadata(path).ok().map(|metadata| metadata.ino());
    let mut missing = Vec::new();
    let whole = diagnostics.is_empty() && documents.iter().all(|document| is_identified(document));
    let mut retained = Vec::new();
    if !whole {
        let before = old.documents.into_iter().chain(old.retained);
        let before = before.chain(old.missing.into_iter().map(|(document, _)| document));
        retained.extend(before.filter(|document| is_identified(document) && is_lost(document)));
    } else if inode.is_some() && old.inode == inode {
        let before = old.documents.into_iter().chain(old.retained);
        missing.extend(old.missing);
        missing.extend(before.map(|document| (document, now)));
        missing.retain(|(document, _)| is_lost(document));
    }
    Some(File {
        stamp,
        documents,
        retained,
        missing,
        inode,
        diagnostics,
    })
}

/// A document that surely is the object it says: known kind and version, a name.
fn is_identified(document: &Document) -> bool {
    let refused = matches!(
        handling(document.api_version(), document.kind()),
        Handling::UnknownKind(_) | Handling::UnknownVersion(_)
    );
    !refused && !document.name().is_empty()
}

/// Nothing while the file may still change within its timestamp's resolution.
fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = std::fs::metadata(path).ok()?;
    let age = SystemTime::now()
        .duration_since(metadata.modified().ok()?)
        .ok()?;
    (age > SETTLED_AFTER).then(|| Stamp {
        inode: metadata.ino(),
        len: metadata.len(),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    })
}

fn duplicate(shadowed: &Document, winner: &Document) -> Diagnostic {
    let message = format!(
        "the same object stands at {} as well, and only that one is in force",
        winner.origin()
    );
    let mut finding = Finding::error(code::DUPLICATE_OBJECT, String::new(), message);
    finding.severity = Severity::Warning;
    let key = DocumentKey::of(shadowed);
    shadowed.diagnostic(finding.suggest("remove one of them"), Some(key.object))
}

fn difference(
    old: &BTreeMap<DocumentKey, Arc<Document>>,
    new: &BTreeMap<DocumentKey, Arc<Document>>,
) -> Delta {
    let changed = |(key, document): &(&DocumentKey, &Arc<Document>)| {
        old.get(*key)
            .is_none_or(|before| !Arc::ptr_eq(before, document) && before != *document)
    };
    Delta {
        applied: new
            .iter()
            .filter(changed)
            .map(|(_, document)| document.clone())
            .collect(),
        deleted: old
            .keys()
            .filter(|key| !new.contains_key(*key))
            .cloned()
            .collect(),
    }
}

#[cfg(test)]
mod tests;
