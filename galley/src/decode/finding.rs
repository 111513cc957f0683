//! A remark about one object before it is known which object that is.
//!
//! Decoding and validation see fields and positions; the file and the object's
//! name are added once, when findings become [`mesh_api`] diagnostics.

use mesh_api::diagnostic::{Diagnostic, Severity};
use mesh_api::resource::{Origin, ResourceKey};

use crate::manifest::node::Position;

/// Codes of findings about a single object. Codes across objects stand beside
/// their analyzers.
pub mod code {
    /// The text is not YAML, or not an object.
    pub const BROKEN_DOCUMENT: &str = "WEFT0001";
    /// A kind or field that Istio knows and this mesh does not support yet.
    pub const NOT_SUPPORTED: &str = "WEFT0002";
    /// A kind that neither Kubernetes nor Istio serves in this group.
    pub const UNKNOWN_KIND: &str = "WEFT0003";
    /// The same object stands twice in one configuration directory.
    pub const DUPLICATE_OBJECT: &str = "WEFT0004";
    /// A file could not be read.
    pub const UNREADABLE: &str = "WEFT0005";
    /// A value breaks the rules of its field (Istio's SchemaValidationError).
    pub const SCHEMA: &str = "IST0106";
    /// A rule behind one that matches everything (Istio's VirtualServiceUnreachableRule).
    pub const UNREACHABLE: &str = "IST0130";
    /// A field or value still works but has a successor (Istio's Deprecated).
    pub const DEPRECATED: &str = "IST0002";
}

/// Findings of one severity that are kept of one object; the rest is counted.
pub(crate) const FINDINGS_MAX: usize = 32;

/// The longest text of a finding in bytes: it may quote values of any length.
const TEXT_BYTES_MAX: usize = 2048;

/// The longest value that is quoted as such, in bytes.
const QUOTED_BYTES_MAX: usize = 1024;

/// A value in quotes, cut short if it is long.
pub(crate) fn quoted(value: &str) -> String {
    match value.len() <= QUOTED_BYTES_MAX {
        true => format!("\"{value}\""),
        false => format!("\"{}…\"", head(value, QUOTED_BYTES_MAX)),
    }
}

fn head(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

/// The beginning of a text that is too long.
pub(crate) fn cut(text: String) -> String {
    match text.len() <= TEXT_BYTES_MAX {
        true => text,
        false => format!("{}…", head(&text, TEXT_BYTES_MAX)),
    }
}

/// One remark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Stable code.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// The field's path; empty for the object as a whole.
    pub path: String,
    /// Where the field stands.
    pub position: Position,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub suggestion: Option<String>,
}

impl Finding {
    /// A reason to refuse the object.
    pub fn error(code: &'static str, path: String, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: Severity::Error,
            path,
            position: Position::default(),
            message: cut(message.into()),
            suggestion: None,
        }
    }

    /// What says, behind the last finding of its severity, how many were not kept.
    pub(crate) fn more(&self, count: usize) -> Self {
        Self {
            message: format!("and {count} more"),
            suggestion: None,
            ..self.clone()
        }
    }

    /// The same with a position.
    pub fn at(mut self, position: Position) -> Self {
        self.position = position;
        self
    }

    /// The same with advice.
    pub fn suggest(mut self, suggestion: impl Into<String>) -> Self {
        self.suggestion = Some(cut(suggestion.into()));
        self
    }

    /// True for a reason to refuse the object.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// The finding as the rest of the mesh sees it. `origin` is the object's; a
    /// position makes it precise.
    pub fn into_diagnostic(self, resource: Option<ResourceKey>, origin: &Origin) -> Diagnostic {
        let origin = match origin {
            Origin::File { path, .. } if self.position.line > 0 => Origin::File {
                path: path.clone(),
                line: self.position.line,
                column: self.position.column,
            },
            other => other.clone(),
        };
        Diagnostic {
            code: self.code,
            severity: self.severity,
            resource,
            origin,
            field: self.path,
            message: self.message,
            suggestion: self.suggestion,
        }
    }
}
