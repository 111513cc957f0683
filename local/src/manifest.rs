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
    /// File name stem under which the object is stored; no part can leave the directory.
    pub fn file_stem(&self) -> String {
        let parts = [&self.group, &self.kind, &self.namespace, &self.name];
        let clean = |part: &&String| {
            part.replace(
                |c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '.'),
                "_",
            )
        };
        parts
            .iter()
            .map(clean)
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join("_")
            .to_lowercase()
    }
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
        match parse_document(&document, &origin, namespace) {
            Ok(objects) => found.objects.extend(objects),
            Err(message) => found.errors.push(ManifestError { origin, message }),
        }
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

fn parse_document(document: &str, origin: &Origin, namespace: &str) -> Result<Vec<Object>, String> {
    // YAML 1.1's octal form is what kubectl reads in file modes.
    let options = serde_saphyr::options! { legacy_octal_numbers: true };
    let value: Value = serde_saphyr::from_str_with_options(document, options)
        .map_err(|error| error.to_string())?;
    if value.is_null() {
        return Ok(Vec::new());
    }
    if value["kind"].as_str().is_some_and(|kind| kind == "List") {
        let items = value["items"].as_array().cloned().unwrap_or_default();
        return items
            .into_iter()
            .map(|item| object(item, None, origin, namespace))
            .collect();
    }
    Ok(vec![object(value, Some(document), origin, namespace)?])
}

fn object(
    mut value: Value,
    text: Option<&str>,
    origin: &Origin,
    namespace: &str,
) -> Result<Object, String> {
    let field = |pointer: &str| {
        value
            .pointer(pointer)
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let api_version = field("/apiVersion").ok_or("\"apiVersion\" is missing")?;
    let kind = field("/kind").ok_or("\"kind\" is missing")?;
    let name = field("/metadata/name").ok_or("\"metadata.name\" is missing")?;
    let group = api_version
        .rsplit_once('/')
        .map(|(group, _)| group)
        .unwrap_or_default()
        .to_owned();
    let stated = field("/metadata/namespace").filter(|namespace| !namespace.is_empty());
    let rewritten = stated.is_none() && namespace != "default" && !cluster_scoped(&kind);
    let namespace = if cluster_scoped(&kind) {
        String::new()
    } else {
        stated.unwrap_or_else(|| namespace.to_owned())
    };
    if !namespace.is_empty() {
        value["metadata"]["namespace"] = Value::String(namespace.clone());
    }
    let text = match text {
        Some(text) if !rewritten => text.to_owned(),
        _ => format!("{value:#}\n"),
    };
    Ok(Object {
        key: ObjectKey {
            group,
            kind,
            namespace,
            name,
        },
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
    fn a_name_cannot_leave_the_directory() {
        let key = ObjectKey {
            group: "a.b".into(),
            kind: "Kind".into(),
            namespace: "n".into(),
            name: "../x".into(),
        };
        assert_eq!(key.file_stem(), "a.b_kind_n_.._x");
    }
}
