//! What the user wants: objects from the watched directory, from `apply`, and the mesh's own.
//!
//! Later sources win: the mesh's defaults, then the directory, then what was applied. A file that
//! breaks keeps the objects it had, so a typing error does not take pods away. An object that is no
//! longer in the directory is removed [`REMOVAL_DELAY`] later: editors and scripts that write in place
//! empty a file for a moment.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use crate::{
    env::Data,
    manifest::{self, ManifestError, Object, ObjectKey},
};

/// Objects by identity.
pub type Objects = BTreeMap<ObjectKey, Object>;

/// ConfigMap with the mesh's root certificate, present in every namespace.
const ROOT_CERT_CONFIG_MAP: &str = "istio-ca-root-cert";

/// How long an object must be missing from the directory until it is removed.
pub const REMOVAL_DELAY: Duration = Duration::from_secs(1);

/// All sources.
#[derive(Debug, Default)]
pub struct Desired {
    defaults: Objects,
    files: BTreeMap<PathBuf, Vec<Object>>,
    /// Objects that are no longer in any file, and since when; they are in force until they are removed.
    missing: BTreeMap<ObjectKey, Missing>,
    applied: Objects,
    /// Documents of the directory that do not decode.
    pub errors: Vec<ManifestError>,
}

#[derive(Debug)]
struct Missing {
    object: Object,
    file: PathBuf,
    since: Instant,
}

impl Desired {
    /// Starts with the mesh's own objects.
    pub fn new(defaults: Vec<Object>) -> Self {
        Self {
            defaults: by_key(defaults),
            ..Self::default()
        }
    }

    /// Reads the directory again. Returns when it has to be read next, for objects that are missing at `now`.
    pub fn read_directory(&mut self, dir: &Path, now: Instant) -> std::io::Result<Option<Instant>> {
        let paths = manifest::manifest_files(dir)?;
        let before = self.files.clone();
        let known: BTreeSet<_> = paths.iter().cloned().collect();
        self.files.retain(|path, _| known.contains(path));
        self.errors.clear();
        for path in paths {
            // A file may vanish between listing and reading.
            let Ok(text) = std::fs::read_to_string(&path) else {
                continue;
            };
            let found = manifest::parse(&text, &path, "default");
            self.replace_file(path, found);
        }
        self.note_missing(before, now);
        let oldest = self.missing.values().map(|missing| missing.since).min();
        Ok(oldest.map(|since| since + REMOVAL_DELAY))
    }

    fn note_missing(&mut self, before: BTreeMap<PathBuf, Vec<Object>>, now: Instant) {
        for (file, objects) in before {
            for object in objects {
                let missing = Missing {
                    object,
                    file: file.clone(),
                    since: now,
                };
                self.missing.insert(missing.object.key.clone(), missing);
            }
        }
        for object in self.files.values().flatten() {
            self.missing.remove(&object.key);
        }
        self.missing
            .retain(|_, missing| now.duration_since(missing.since) < REMOVAL_DELAY);
    }

    fn replace_file(&mut self, path: PathBuf, found: manifest::Documents) {
        let mut objects = found.objects;
        if !found.errors.is_empty() {
            let present: BTreeSet<_> = objects.iter().map(|object| object.key.clone()).collect();
            let before = self.files.remove(&path).unwrap_or_default();
            objects.extend(
                before
                    .into_iter()
                    .filter(|object| !present.contains(&object.key)),
            );
        }
        self.errors.extend(found.errors);
        self.files.insert(path, objects);
    }

    /// Adds an applied object; `true` if there was none of that name from any source.
    pub fn apply(&mut self, object: Object) -> bool {
        let new = !self.contains(&object.key);
        self.applied.insert(object.key.clone(), object);
        new
    }

    /// Removes an applied object.
    pub fn delete(&mut self, key: &ObjectKey) -> bool {
        self.applied.remove(key).is_some()
    }

    /// Whether an object of that identity exists.
    pub fn contains(&self, key: &ObjectKey) -> bool {
        self.applied.contains_key(key)
            || self.defaults.contains_key(key)
            || self.in_directory(key).is_some()
    }

    /// The directory's file that brings an object.
    pub fn in_directory(&self, key: &ObjectKey) -> Option<&Path> {
        let holds = |objects: &[Object]| objects.iter().any(|object| object.key == *key);
        let file = self.files.iter().find(|(_, objects)| holds(objects));
        let missing = || self.missing.get(key).map(|missing| &missing.file);
        file.map(|(path, _)| path)
            .or_else(missing)
            .map(PathBuf::as_path)
    }

    /// Whether an object is the mesh's own, not the user's.
    pub fn is_default(&self, key: &ObjectKey) -> bool {
        self.defaults.contains_key(key)
            && !self.applied.contains_key(key)
            && self.in_directory(key).is_none()
    }

    /// What was applied.
    pub fn applied(&self) -> &Objects {
        &self.applied
    }

    /// All objects, merged.
    pub fn objects(&self) -> Objects {
        let mut objects = self.defaults.clone();
        let missing = self.missing.iter();
        objects.extend(missing.map(|(key, missing)| (key.clone(), missing.object.clone())));
        objects.extend(
            self.files
                .values()
                .flatten()
                .map(|object| (object.key.clone(), object.clone())),
        );
        objects.extend(self.applied.clone());
        objects
    }
}

fn by_key(objects: Vec<Object>) -> Objects {
    objects
        .into_iter()
        .map(|object| (object.key.clone(), object))
        .collect()
}

/// ConfigMaps and Secrets of the current objects.
#[derive(Debug, Clone)]
pub struct DataView {
    /// The objects.
    pub objects: Arc<Objects>,
    /// File with the published root certificate.
    pub root_cert: PathBuf,
}

impl DataView {
    fn find(&self, kind: &str, namespace: &str, name: &str) -> Option<&Value> {
        let key = ObjectKey {
            group: String::new(),
            kind: kind.into(),
            namespace: namespace.into(),
            name: name.into(),
        };
        self.objects.get(&key).map(|object| &object.value)
    }
}

impl Data for DataView {
    fn config_map(&self, namespace: &str, name: &str) -> Option<BTreeMap<String, Vec<u8>>> {
        if name == ROOT_CERT_CONFIG_MAP {
            let pem = std::fs::read(&self.root_cert).ok()?;
            return Some([("root-cert.pem".to_owned(), pem)].into());
        }
        let value = self.find("ConfigMap", namespace, name)?;
        Some(merge(plain(&value["data"]), encoded(&value["binaryData"])))
    }

    fn secret(&self, namespace: &str, name: &str) -> Option<BTreeMap<String, Vec<u8>>> {
        let value = self.find("Secret", namespace, name)?;
        Some(merge(encoded(&value["data"]), plain(&value["stringData"])))
    }
}

fn merge(
    mut first: BTreeMap<String, Vec<u8>>,
    second: BTreeMap<String, Vec<u8>>,
) -> BTreeMap<String, Vec<u8>> {
    first.extend(second);
    first
}

fn plain(map: &Value) -> BTreeMap<String, Vec<u8>> {
    let entry =
        |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.as_bytes().to_vec()));
    map.as_object()
        .into_iter()
        .flatten()
        .filter_map(entry)
        .collect()
}

fn encoded(map: &Value) -> BTreeMap<String, Vec<u8>> {
    let decode = |text: &str| {
        STANDARD
            .decode(text.split_whitespace().collect::<String>())
            .ok()
    };
    let entry = |(key, value): (&String, &Value)| Some((key.clone(), decode(value.as_str()?)?));
    map.as_object()
        .into_iter()
        .flatten()
        .filter_map(entry)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(desired: &Desired) -> Vec<String> {
        desired
            .objects()
            .keys()
            .map(|key| key.name.clone())
            .collect()
    }

    #[test]
    fn a_file_that_breaks_keeps_what_it_had() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.yaml");
        let service = |name: &str| {
            format!("apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\n---\n")
        };
        let mut desired = Desired::default();
        let mut now = Instant::now();
        let mut read = |text: String| {
            std::fs::write(&file, text).unwrap();
            desired.read_directory(dir.path(), now).unwrap();
            now += REMOVAL_DELAY;
            desired.read_directory(dir.path(), now).unwrap();
            (names(&desired), desired.errors.len())
        };
        assert_eq!(
            read(service("one") + &service("two")),
            (vec!["one".into(), "two".into()], 0)
        );
        assert_eq!(
            read(service("one") + "kind: [\n"),
            (vec!["one".into(), "two".into()], 1)
        );
        assert_eq!(read(service("one")), (vec!["one".into()], 0));
        std::fs::remove_file(&file).unwrap();
        desired.read_directory(dir.path(), now).unwrap();
        now += REMOVAL_DELAY;
        desired.read_directory(dir.path(), now).unwrap();
        assert_eq!(names(&desired), Vec::<String>::new());
    }

    #[test]
    fn a_file_that_is_written_in_place_keeps_its_objects() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("b.yaml");
        let service = |name: &str| {
            format!("apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\n---\n")
        };
        let both = service("one") + &service("two");
        let mut desired = Desired::default();
        let begun = Instant::now();
        let at = |ms: u64| begun + Duration::from_millis(ms);
        // What a writer in place shows: nothing, a part, a part that ends within a document, everything.
        let mut steps = vec![(0, both.as_str(), None)];
        let part = service("one");
        let cut = &both[..both.len() - 10];
        for (ms, text) in [(10, ""), (500, part.as_str()), (900, cut)] {
            steps.push((ms, text, Some(at(1010))));
        }
        steps.push((1000, &both, None));
        for (ms, text, next) in steps {
            std::fs::write(&file, text).unwrap();
            let told = desired.read_directory(dir.path(), at(ms)).unwrap();
            assert_eq!(names(&desired), ["one", "two"], "after {ms} ms");
            if ms != 900 {
                assert_eq!(told, next, "after {ms} ms");
            }
        }
        // An object that moves to another file is not held up by its old form.
        std::fs::write(&file, &part).unwrap();
        std::fs::write(dir.path().join("a.yaml"), service("two")).unwrap();
        let told = desired.read_directory(dir.path(), at(2000)).unwrap();
        assert_eq!((names(&desired).len(), told), (2, None));
        std::fs::remove_file(&file).unwrap();
        let told = desired.read_directory(dir.path(), at(3000)).unwrap();
        assert_eq!((names(&desired).len(), told), (2, Some(at(4000))));
        let told = desired.read_directory(dir.path(), at(4000)).unwrap();
        assert_eq!((names(&desired), told), (vec!["two".into()], None));
    }

    #[test]
    fn secrets_are_decoded() {
        let text = "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: x}\ndata: {a: aGk=}\nstringData: {b: plain}\n";
        let objects = by_key(manifest::parse(text, Path::new("f"), "default").objects);
        let view = DataView {
            objects: Arc::new(objects),
            root_cert: "/none".into(),
        };
        let expected = [
            ("a".to_owned(), b"hi".to_vec()),
            ("b".to_owned(), b"plain".to_vec()),
        ]
        .into();
        assert_eq!(view.secret("x", "s"), Some(expected));
        assert_eq!(view.config_map("x", "istio-ca-root-cert"), None);
    }
}
