//! All objects by name, each with its last good version.
//!
//! Synchronous and without clock: sources push documents in, the snapshot builder
//! takes changes out. A bad version of an object is quarantined: the version
//! before stays in force, the findings say why, and nothing else is held up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mesh_api::diagnostic::{Diagnostic, Severity};
use mesh_api::mesh_config::MeshConfig;
use mesh_api::resource::ResourceKey;

use crate::kinds::{Context, Model, mesh_config};
use crate::manifest::Document;
use crate::object::{self, Object, Reading};
use crate::work::Budget;

/// Where a document is kept in its source; documents without a usable name have
/// findings too, and those go when the document goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DocumentKey {
    /// API group.
    pub group: Arc<str>,
    /// Kind, namespace as written, name as written.
    pub object: ResourceKey,
}

impl DocumentKey {
    /// A key that sorts before all others.
    pub(crate) fn first() -> Self {
        Self {
            group: "".into(),
            object: ResourceKey::new("", "", ""),
        }
    }

    /// The key of a document: everything it says about its identity.
    pub fn of(document: &Document) -> Self {
        let api_version = document.api_version();
        let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
        let namespace = document.namespace().unwrap_or("default");
        Self {
            group: group.into(),
            object: ResourceKey::new(document.kind(), namespace, document.name()),
        }
    }
}

/// One object's place in the store.
#[derive(Debug, Default)]
struct Entry {
    /// The version in force.
    good: Option<Arc<Object>>,
    /// That version is a stand-in for a policy of which no good version is known.
    stands_in: bool,
    /// The newest version, if it was refused.
    refused: Option<Arc<Document>>,
    /// What there is to say about the newest version.
    diagnostics: Vec<Diagnostic>,
    /// The document's name in the model; set once it was readable.
    key: Option<ResourceKey>,
}

/// Objects, findings and what changed.
#[derive(Debug)]
pub struct Store {
    base: MeshConfig,
    config_map: Arc<str>,
    mesh: Arc<MeshConfig>,
    entries: BTreeMap<DocumentKey, Entry>,
    objects: BTreeMap<ResourceKey, Arc<Object>>,
    changed: Changed,
    quarantined: usize,
}

/// What changed in a store.
#[derive(Debug, Default)]
pub struct Changed {
    /// Objects, each with the version before.
    pub objects: BTreeMap<ResourceKey, Option<Arc<Object>>>,
    /// Documents that came, went or changed, refused ones among them.
    pub(crate) documents: BTreeSet<DocumentKey>,
    /// The mesh's settings changed, and with them the defaults of everything.
    pub mesh: bool,
}

impl Store {
    /// An empty store; `base` is what the mesh configuration starts from.
    pub fn new(base: MeshConfig) -> Self {
        Self {
            mesh: Arc::new(base.clone()),
            base,
            config_map: mesh_config::NAME.into(),
            entries: BTreeMap::new(),
            objects: BTreeMap::new(),
            changed: Changed {
                mesh: true,
                ..Changed::default()
            },
            quarantined: 0,
        }
    }

    /// The same, with the mesh configuration in a ConfigMap of this name.
    pub fn with_config_map(self, name: &str) -> Self {
        Self {
            config_map: name.into(),
            ..self
        }
    }

    /// Takes a new version of a document. Returns true if it was accepted.
    pub fn apply(&mut self, document: Arc<Document>) -> bool {
        let reading = self.read(&document);
        let key = DocumentKey::of(&document);
        self.changed.documents.insert(key.clone());
        let entry = self.entries.entry(key).or_default();
        self.quarantined -= usize::from(entry.is_quarantined());
        entry.diagnostics = reading.diagnostics;
        let accepted = reading.object.is_some();
        let replaced = match (reading.object, reading.stand_in) {
            (Some(object), _) => {
                entry.refused = None;
                entry.stands_in = false;
                Some(object)
            }
            (None, stand_in) => {
                entry.refused = reading.key.is_some().then_some(document);
                // A good version, however old, is better than a stand-in.
                let unknown = entry.good.is_none() || entry.stands_in;
                entry.stands_in |= unknown && stand_in.is_some();
                stand_in.filter(|_| unknown)
            }
        };
        let replaced = replaced.map(Arc::new).map(|object| {
            entry.key = reading.key;
            (entry.good.replace(object.clone()), object)
        });
        self.quarantined += usize::from(entry.is_quarantined());
        if let Some((before, object)) = replaced {
            self.put(object, before);
        }
        accepted
    }

    /// Reads a document against the mesh's settings. The settings themselves are
    /// read against what they started from, or they would depend on themselves.
    pub fn read(&self, document: &Arc<Document>) -> Reading {
        let mesh = match document.kind() {
            "ConfigMap" => &self.base,
            _ => &self.mesh,
        };
        let context = Context {
            mesh,
            config_map: &self.config_map,
            budget: &Budget::default(),
        };
        object::read(document, &context)
    }

    /// Removes a document and the object it stood for.
    pub fn delete(&mut self, key: &DocumentKey) {
        let Some(entry) = self.entries.remove(key) else {
            return;
        };
        self.changed.documents.insert(key.clone());
        self.quarantined -= usize::from(entry.is_quarantined());
        let Some(object) = entry.good else {
            return;
        };
        let before = self.objects.remove(&object.meta.key);
        self.changed.add(&object.meta.key, before);
        if matches!(object.model, Model::MeshConfig(_)) {
            self.set_mesh(Arc::new(self.base.clone()));
        }
    }

    fn put(&mut self, object: Arc<Object>, before: Option<Arc<Object>>) {
        if let Model::MeshConfig(mesh) = &object.model {
            self.set_mesh(mesh.clone());
        } else if before.is_some_and(|before| matches!(before.model, Model::MeshConfig(_))) {
            self.set_mesh(Arc::new(self.base.clone()));
        }
        self.replace(object);
    }

    fn replace(&mut self, object: Arc<Object>) {
        let key = object.meta.key.clone();
        let before = self.objects.insert(key.clone(), object);
        self.changed.add(&key, before);
    }

    /// Defaults of every object may have changed, so each is normalised again.
    fn set_mesh(&mut self, mesh: Arc<MeshConfig>) {
        if *mesh == *self.mesh {
            return;
        }
        self.mesh = mesh;
        self.changed.mesh = true;
        let documents: Vec<_> = self
            .entries
            .values()
            .filter_map(|entry| entry.good.as_ref())
            .filter(|object| !matches!(object.model, Model::MeshConfig(_)))
            .map(|object| object.document.clone())
            .collect();
        for document in documents {
            let reading = self.read(&document);
            let object = reading.object.or(reading.stand_in);
            let Some(object) = object.map(Arc::new) else {
                continue;
            };
            if let Some(entry) = self.entries.get_mut(&DocumentKey::of(&document)) {
                entry.good = Some(object.clone());
            }
            self.replace(object);
        }
    }

    /// The object in force under a name.
    pub fn get(&self, key: &ResourceKey) -> Option<&Arc<Object>> {
        self.objects.get(key)
    }

    /// All objects in force.
    pub fn objects(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.objects.values()
    }

    /// All objects of a kind that are in force, by namespace and name.
    pub fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Arc<Object>> {
        let first = ResourceKey::new(kind, "", "");
        let rest = self.objects.range(first..);
        rest.take_while(move |(key, _)| &*key.kind == kind)
            .map(|(_, object)| object)
    }

    /// Objects of a kind in one namespace.
    pub fn of_namespace<'a>(
        &'a self,
        kind: &'a str,
        namespace: &'a str,
    ) -> impl Iterator<Item = &'a Arc<Object>> {
        let first = ResourceKey::new(kind, namespace, "");
        let rest = self.objects.range(first..);
        rest.take_while(move |(key, _)| &*key.kind == kind && &*key.namespace == namespace)
            .map(|(_, object)| object)
    }

    /// Mesh-wide settings in force.
    pub fn mesh(&self) -> &Arc<MeshConfig> {
        &self.mesh
    }

    /// How many objects are in force with an older version than the newest.
    pub fn quarantined(&self) -> usize {
        self.quarantined
    }

    /// How many objects are in force.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// True without an object in force.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// The newest version of a document that was readable, and whether it was refused.
    pub(crate) fn newest(&self, key: &DocumentKey) -> Option<(&Arc<Document>, bool)> {
        let entry = self.entries.get(key)?;
        let good = entry.good.as_ref().map(|good| &good.document);
        let newest = entry.refused.as_ref().or(good)?;
        Some((newest, entry.refused.is_some()))
    }

    /// Everything there is to say about single objects.
    pub fn diagnostics(&self) -> Vec<Diagnostic> {
        self.entries.values().flat_map(Entry::findings).collect()
    }

    /// What there is to say about one document.
    pub(crate) fn findings(&self, key: &DocumentKey) -> Vec<Diagnostic> {
        let entry = self.entries.get(key);
        entry.map(Entry::findings).unwrap_or_default()
    }

    /// What changed since the last call.
    pub fn take_changes(&mut self) -> Changed {
        std::mem::take(&mut self.changed)
    }
}

impl Changed {
    /// Notes the version before the first change.
    fn add(&mut self, key: &ResourceKey, before: Option<Arc<Object>>) {
        self.objects.entry(key.clone()).or_insert(before);
    }
}

impl Entry {
    fn is_quarantined(&self) -> bool {
        self.refused.is_some() && self.key.is_some()
    }

    /// An error of an object whose last good version is in force says so.
    fn findings(&self) -> Vec<Diagnostic> {
        let note = match (&self.good, &self.refused) {
            (Some(_), Some(_)) if self.stands_in => {
                "; no good version is known, so everything it may be about is closed"
            }
            (Some(_), Some(_)) => "; the last good version stays in force",
            _ => "",
        };
        let mut findings = self.diagnostics.clone();
        for finding in &mut findings {
            if finding.severity == Severity::Error {
                finding.message.push_str(note);
            }
        }
        findings
    }
}

#[cfg(test)]
mod tests;
