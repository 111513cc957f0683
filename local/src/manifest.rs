//! Kubernetes and Istio objects as the user wrote them: decoding, identity and positions.
//!
//! A text is split on `---` first, so that one broken document does not take its neighbours with
//! it. Kinds that `local` acts on are decoded to their Kubernetes types where they are used; all
//! others stay as they are and only pass through to the control plane.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::validate::{self, Field, Positions, Problem};

/// Longest file name stem; extension and temporary names find room beside it.
const STEM_BYTES_MAX: usize = 180;

/// Identity of an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectKey {
    /// API group; empty for the core group.
    pub group: String,
    /// Kind, as written.
    pub kind: String,
    /// Namespace; empty for cluster-scoped kinds.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl ObjectKey {
    /// File name stem under which the object is stored: a single name that no part can lead out of the
    /// directory, short enough for a file system, and another one for every object.
    pub fn file_stem(&self) -> String {
        let parts = [&self.group, &self.kind, &self.namespace, &self.name];
        let legible = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
        let clean = |part: &&String| part.replace(|c: char| !legible(c), "_");
        let joined: Vec<_> = parts
            .iter()
            .map(clean)
            .filter(|part| !part.is_empty())
            .collect();
        let mut stem = joined.join("_").to_lowercase();
        let faithful = parts.iter().all(|part| part.chars().all(legible));
        if !faithful || stem.len() > STEM_BYTES_MAX || stem.starts_with('.') {
            stem.truncate(STEM_BYTES_MAX);
            stem = format!("_{stem}_{:016x}", fingerprint(&parts));
        }
        stem
    }
}

/// FNV-1a over the parts, each with its end.
fn fingerprint(parts: &[&String]) -> u64 {
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0xff]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.to_lowercase();
        match self.namespace.as_str() {
            "" => write!(f, "{kind}/{}", self.name),
            namespace => write!(f, "{kind}/{} in {namespace}", self.name),
        }
    }
}

/// One decoded document.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// Who it is.
    pub key: ObjectKey,
    /// What it says.
    pub value: Value,
    /// The document as written, for storing it unchanged.
    pub text: String,
    /// Where it was written.
    pub origin: Origin,
}

impl Object {
    /// Decodes to a Kubernetes type; the message names the field.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, ManifestError> {
        T::deserialize(&self.value).map_err(|error| ManifestError {
            origin: self.origin.clone(),
            message: format!("{}: {error}", self.key),
        })
    }
}

/// File and line of a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// File.
    pub file: PathBuf,
    /// First line of the document, from 1.
    pub line: usize,
}

/// A document that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{}:{}: {message}", .origin.file.display(), .origin.line)]
pub struct ManifestError {
    /// Where.
    pub origin: Origin,
    /// What is wrong with it.
    pub message: String,
}

/// What a text contains.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Documents {
    /// The documents that decode.
    pub objects: Vec<Object>,
    /// The ones that do not.
    pub errors: Vec<ManifestError>,
}

/// Decodes all documents of `text`; objects without a namespace get `namespace`.
pub fn parse(text: &str, file: &Path, namespace: &str) -> Documents {
    let mut found = Documents::default();
    for (line, document) in split(text) {
        let origin = Origin {
            file: file.to_owned(),
            line,
        };
        parse_document(&document, &origin, namespace, &mut found);
    }
    found
}

/// Decodes all manifests below `dir`, in the order of their paths.
pub fn read_dir(dir: &Path) -> std::io::Result<Documents> {
    let mut found = Documents::default();
    for path in manifest_files(dir)? {
        let documents = parse(&std::fs::read_to_string(&path)?, &path, "default");
        found.objects.extend(documents.objects);
        found.errors.extend(documents.errors);
    }
    Ok(found)
}

/// Files with a manifest's extension below `path`, sorted; a file stands for itself.
pub fn manifest_files(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    let mut open = vec![path.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir)? {
            let path = entry?.path();
            let hidden = path
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with('.'));
            if hidden {
                continue;
            }
            if path.is_dir() {
                open.push(path);
            } else if path
                .extension()
                .is_some_and(|ext| ["yaml", "yml", "json"].iter().any(|known| ext == *known))
            {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Documents with their first line; empty ones are left out.
fn split(text: &str) -> Vec<(usize, String)> {
    let mut documents = vec![(1, String::new())];
    for (number, line) in text.lines().enumerate() {
        if line == "---" || line.starts_with("--- ") {
            documents.push((number + 2, String::new()));
        } else {
            let (_, document) = documents.last_mut().expect("there is always one");
            document.push_str(line);
            document.push('\n');
        }
    }
    documents.retain(|(_, document)| {
        document
            .lines()
            .any(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
    });
    documents
}

/// Decodes a document; each item of a list stands for itself.
fn parse_document(document: &str, origin: &Origin, namespace: &str, found: &mut Documents) {
    // YAML 1.1's octal form is what kubectl reads in file modes.
    let options = serde_saphyr::options! { legacy_octal_numbers: true };
    let mut value: Value = match serde_saphyr::from_str_with_options(document, options) {
        Ok(Value::Null) => return,
        Ok(value) => value,
        Err(error) => {
            return found.errors.push(ManifestError {
                origin: origin.clone(),
                message: error.to_string(),
            });
        }
    };
    let mut problems = Vec::new();
    if value["kind"].as_str().is_some_and(|kind| kind == "List") {
        let items = match value["items"].take() {
            Value::Array(items) => items,
            _ => Vec::new(),
        };
        for (index, item) in items.into_iter().enumerate() {
            match object(item, None, origin, namespace) {
                Ok(object) => found.objects.push(object),
                Err(of_item) => problems.extend(of_item.into_iter().map(|problem| Problem {
                    field: problem.field.in_item(index),
                    ..problem
                })),
            }
        }
    } else {
        match object(value, Some(document), origin, namespace) {
            Ok(object) => found.objects.push(object),
            Err(of_object) => problems = of_object,
        }
    }
    found.errors.extend(errors(&problems, document, origin));
}

/// Problems with the lines of the fields that they are about.
fn errors(problems: &[Problem], document: &str, origin: &Origin) -> Vec<ManifestError> {
    if problems.is_empty() {
        return Vec::new();
    }
    let positions = Positions::read(document);
    let error = |problem: &Problem| ManifestError {
        origin: Origin {
            file: origin.file.clone(),
            line: origin.line + positions.line(&problem.field) - 1,
        },
        message: problem.to_string(),
    };
    problems.iter().map(error).collect()
}

fn object(
    mut value: Value,
    text: Option<&str>,
    origin: &Origin,
    namespace: &str,
) -> Result<Object, Vec<Problem>> {
    let field = |pointer: &str, name: &str| {
        let text = value.pointer(pointer).and_then(Value::as_str);
        text.map(str::to_owned).ok_or_else(|| {
            vec![Problem {
                field: Field::default(),
                message: format!("\"{name}\" is missing"),
            }]
        })
    };
    let api_version = field("/apiVersion", "apiVersion")?;
    let kind = field("/kind", "kind")?;
    let name = field("/metadata/name", "metadata.name")?;
    let group = api_version
        .rsplit_once('/')
        .map(|(group, _)| group)
        .unwrap_or_default()
        .to_owned();
    let stated = field("/metadata/namespace", "metadata.namespace").ok();
    let stated = stated.filter(|namespace| !namespace.is_empty());
    let rewritten = stated.is_none() && namespace != "default" && !cluster_scoped(&kind);
    let namespace = if cluster_scoped(&kind) {
        String::new()
    } else {
        stated.unwrap_or_else(|| namespace.to_owned())
    };
    if !namespace.is_empty() {
        value["metadata"]["namespace"] = Value::String(namespace.clone());
    }
    let key = ObjectKey {
        group,
        kind,
        namespace,
        name,
    };
    let problems = validate::object(&key, &value);
    if !problems.is_empty() {
        return Err(problems);
    }
    let text = match text {
        Some(text) if !rewritten => text.to_owned(),
        _ => format!("{value:#}\n"),
    };
    Ok(Object {
        key,
        value,
        text,
        origin: origin.clone(),
    })
}

fn cluster_scoped(kind: &str) -> bool {
    const KINDS: [&str; 14] = [
        "Namespace",
        "Node",
        "PersistentVolume",
        "StorageClass",
        "PriorityClass",
        "CustomResourceDefinition",
        "ClusterRole",
        "ClusterRoleBinding",
        "MutatingWebhookConfiguration",
        "ValidatingWebhookConfiguration",
        "GatewayClass",
        "IngressClass",
        "ClusterIssuer",
        "MeshPolicy",
    ];
    KINDS.contains(&kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# licence\napiVersion: v1\nkind: Service\nmetadata:\n  name: a\n---\nkind: [broken\n---\n# nothing\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: web}\n";

    #[test]
    fn a_broken_document_does_not_hide_its_neighbours() {
        let found = parse(FILE, Path::new("f.yaml"), "shop");
        let keys: Vec<_> = found
            .objects
            .iter()
            .map(|object| object.key.to_string())
            .collect();
        assert_eq!(keys, ["service/a in shop", "namespace/web"]);
        let lines: Vec<_> = found.errors.iter().map(|error| error.origin.line).collect();
        assert_eq!(lines, [7]);
    }

    #[test]
    fn text_is_kept_unless_a_namespace_must_be_written_down() {
        let text = "apiVersion: v1\nkind: Service\nmetadata: {name: a} # mine\n";
        let objects = |namespace| parse(text, Path::new("f.yaml"), namespace).objects;
        assert_eq!(objects("default")[0].text, text);
        assert!(objects("shop")[0].text.contains("\"namespace\": \"shop\""));
    }

    #[test]
    fn a_list_is_its_items() {
        let text = r#"{"apiVersion":"v1","kind":"List","items":[{"apiVersion":"v1","kind":"Secret","metadata":{"name":"s"}}]}"#;
        let found = parse(text, Path::new("f.json"), "default");
        assert_eq!(found.objects[0].key.to_string(), "secret/s in default");
    }

    #[test]
    fn a_list_loses_only_the_items_that_are_wrong() {
        let text = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Secret, metadata: {name: a}}\n\
                    - apiVersion: v1\n  kind: Secret\n  metadata:\n    name: ../b\n\
                    - {apiVersion: v1, kind: Secret, metadata: {name: c}}\n";
        let found = parse(text, Path::new("f.yaml"), "default");
        let names: Vec<_> = found.objects.iter().map(|o| o.key.name.as_str()).collect();
        assert_eq!(names, ["a", "c"]);
        let [error] = found.errors.as_slice() else {
            panic!("{:?}", found.errors);
        };
        let text = error.to_string();
        assert!(
            text.starts_with("f.yaml:8: items[1].metadata.name: \"../b\" "),
            "{text}"
        );
    }

    #[test]
    fn a_file_name_stays_in_its_directory_fits_and_is_unlike_others() {
        let stem = |group: &str, name: &str| {
            let key = ObjectKey {
                group: group.into(),
                kind: "Kind".into(),
                namespace: "n".into(),
                name: name.into(),
            };
            key.file_stem()
        };
        assert_eq!(stem("a.b", "x"), "a.b_kind_n_x");
        let hostile = stem("a.b", "../x");
        assert!(hostile.starts_with("_a.b_kind_n_.._x_"), "{hostile}");
        assert_ne!(stem("", "system:a"), stem("", "system_a"));
        assert_ne!(stem("", &"x".repeat(253)), stem("", &"x".repeat(252)));
        assert!(stem(&"g".repeat(253), &"x".repeat(253)).len() < 200);
        assert!(!stem(".git", "x").starts_with('.'));
    }
}
