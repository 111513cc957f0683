//! Objects that know where they stand, and files of YAML or JSON taken apart into them.
//!
//! This is the only reader of user text in the workspace: galley, `meshctl` and
//! the local engine all go through it. It knows no kinds; a document is an object
//! as soon as it is a mapping with `kind` and `apiVersion`.

pub mod node;
pub mod path;

mod files;
mod split;

pub use self::files::{is_manifest, read_all, read_file};
pub(crate) use self::files::{list_files, read_listed};

use std::sync::Arc;

use mesh_api::diagnostic::Diagnostic;
use mesh_api::resource::{Origin, ResourceKey};

use self::node::{Node, Position, Value};
use crate::decode::finding::{Finding, code};

/// Stack of the YAML parser.
const STACK_BYTES: usize = 8 << 20;

/// One object of a file or of a cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// Where it was read.
    pub place: Place,
    /// The object with the position of every value.
    pub node: Node,
}

/// Where an object was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a file, under the name that the user gave it.
    File(Arc<str>),
    /// In a cluster, at this `metadata.resourceVersion`.
    Cluster(Arc<str>),
}

impl Document {
    /// Where the object begins.
    pub fn origin(&self) -> Origin {
        match &self.place {
            Place::File(file) => file_origin(file, self.node.position),
            Place::Cluster(resource_version) => Origin::Cluster {
                resource_version: resource_version.clone(),
            },
        }
    }

    /// `apiVersion`, or nothing.
    pub fn api_version(&self) -> &str {
        self.node.get_str("apiVersion").unwrap_or_default()
    }

    /// `kind`, or nothing.
    pub fn kind(&self) -> &str {
        self.node.get_str("kind").unwrap_or_default()
    }

    /// `metadata.name`, or nothing.
    pub fn name(&self) -> &str {
        self.metadata("name").unwrap_or_default()
    }

    /// `metadata.namespace`, if the object names one.
    pub fn namespace(&self) -> Option<&str> {
        self.metadata("namespace")
            .filter(|namespace| !namespace.is_empty())
    }

    /// The object as plain JSON.
    pub fn json(&self) -> serde_json::Value {
        self.node.to_json()
    }

    /// A finding of this document as a diagnostic.
    pub fn diagnostic(&self, finding: Finding, resource: Option<ResourceKey>) -> Diagnostic {
        finding.into_diagnostic(resource, &self.origin())
    }

    fn metadata(&self, field: &str) -> Option<&str> {
        self.node.get("metadata")?.get_str(field)
    }
}

/// Takes `text` apart. A broken document is reported and its neighbours are kept.
pub fn parse(file: &str, text: &str) -> (Vec<Document>, Vec<Diagnostic>) {
    let file: Arc<str> = file.into();
    let mut documents = Vec::new();
    let mut diagnostics = Vec::new();
    let parts = split::split(text);
    let nodes = deep_stack(|| parts.iter().map(parse_part).collect::<Vec<_>>());
    for (part, node) in parts.iter().zip(nodes) {
        match node {
            Ok(node) => add_objects(&file, node, &mut documents, &mut diagnostics),
            Err(finding) => {
                diagnostics
                    .push(finding.into_diagnostic(None, &file_origin(&file, first_line(part))));
            }
        }
    }
    (documents, diagnostics)
}

/// Runs the YAML parser, whose limit of 64 levels can take more stack than threads of a runtime have.
fn deep_stack<T: Send>(parse: impl Fn() -> T + Sync) -> T {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
        match thread.spawn_scoped(scope, &parse) {
            Ok(thread) => match thread.join() {
                Ok(parsed) => parsed,
                Err(panic) => std::panic::resume_unwind(panic),
            },
            // Without threads there is still this one.
            Err(_) => parse(),
        }
    })
}

/// Reads text that is one value, such as a document inside of a ConfigMap. Positions
/// are those within the text.
pub(crate) fn parse_value(text: &str) -> Result<Node, (Position, String)> {
    let part = split::Part {
        line_offset: 0,
        text,
    };
    let parsed = deep_stack(|| parse_part(&part));
    parsed.map_err(|finding| (finding.position, finding.message))
}

fn parse_part(part: &split::Part<'_>) -> Result<Node, Finding> {
    let options = serde_saphyr::options! {
        legacy_octal_numbers: true,
        with_snippet: false,
    };
    let parsed: Result<node::Raw, _> = serde_saphyr::from_str_with_options(part.text, options);
    parsed
        .map(|raw| raw.into_node(part.line_offset))
        .map_err(|error| {
            let position = match error.location() {
                Some(location) if location.line() > 0 => Position {
                    line: u32::try_from(location.line())
                        .unwrap_or(u32::MAX)
                        .saturating_add(part.line_offset),
                    column: u32::try_from(location.column()).unwrap_or(u32::MAX),
                },
                _ => first_line(part),
            };
            let message = format!(
                "not readable as YAML: {}",
                first_sentence(&error.to_string())
            );
            Finding::error(code::BROKEN_DOCUMENT, String::new(), message).at(position)
        })
}

/// The parser's message without the place, which the diagnostic states itself.
fn first_sentence(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    let line = line.split(" at line ").next().unwrap_or(line);
    let line = match line.strip_prefix("error: ") {
        Some(rest) => rest,
        None => line,
    };
    match line
        .strip_prefix("line ")
        .and_then(|rest| rest.split_once(": "))
    {
        Some((_, rest)) => rest.to_owned(),
        None => line.to_owned(),
    }
}

fn first_line(part: &split::Part<'_>) -> Position {
    Position {
        line: part.line_offset + 1,
        column: 1,
    }
}

/// Adds the object, or the items of a `List`.
fn add_objects(
    file: &Arc<str>,
    node: Node,
    documents: &mut Vec<Document>,
    diagnostics: &mut Vec<Diagnostic>,
) {
    if node.value == Value::Null {
        return;
    }
    let is_list = node
        .get_str("kind")
        .is_some_and(|kind| kind == "List" || kind.ends_with("List"));
    let items = if is_list {
        node.into_items()
    } else {
        Err(node)
    };
    let node = match items {
        Ok(items) => {
            for item in items {
                add_objects(file, item, documents, diagnostics);
            }
            return;
        }
        Err(node) => node,
    };
    match missing(&node) {
        None => documents.push(Document {
            place: Place::File(file.clone()),
            node,
        }),
        Some(finding) => {
            let origin = file_origin(file, node.position);
            diagnostics.push(finding.into_diagnostic(None, &origin));
        }
    }
}

/// What keeps a document from being an object.
fn missing(node: &Node) -> Option<Finding> {
    if !matches!(node.value, Value::Map(_)) {
        let message = format!("expected an object, found {}", node.kind());
        return Some(
            Finding::error(code::BROKEN_DOCUMENT, String::new(), message).at(node.position),
        );
    }
    ["apiVersion", "kind"]
        .into_iter()
        .find(|field| node.get_str(field).is_none())
        .map(|field| {
            let message = format!("field \"{field}\" is required");
            Finding::error(code::BROKEN_DOCUMENT, field.to_owned(), message).at(node.position)
        })
}

fn file_origin(file: &Arc<str>, position: Position) -> Origin {
    Origin::File {
        path: file.clone(),
        line: position.line,
        column: position.column,
    }
}

#[cfg(test)]
mod tests;
