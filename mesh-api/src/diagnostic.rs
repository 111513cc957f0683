//! What is wrong with an object, or noteworthy: one type for the admission webhook, the status condition,
//! `meshctl validate` and `meshctl analyze`.

use std::fmt;

use crate::resource::{Origin, ResourceKey};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Admitted, but probably not what was meant.
    Warning,
    /// Refused, so that the last good version stays in force; or, across objects, surely broken.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Stable code: Istio's (`IST0101`) where Istio has one, else ours (`WEFT0001` and on).
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// The object, if the document got far enough to have a name.
    pub resource: Option<ResourceKey>,
    /// Where: the most precise place that is known.
    pub origin: Origin,
    /// The field, e.g. `spec.http[0].route[1].weight`; empty for the object as a whole.
    pub field: String,
    /// What is wrong, with the offending value in quotes.
    pub message: String,
    /// What to write instead.
    pub suggestion: Option<String>,
}

impl Diagnostic {
    /// `error[CODE] field: message`, for who has the object before them.
    pub fn brief(&self) -> String {
        let Self {
            code,
            severity,
            field,
            message,
            ..
        } = self;
        match field.as_str() {
            "" => format!("{severity}[{code}]: {message}"),
            field => format!("{severity}[{code}] {field}: {message}"),
        }
    }
}

impl fmt::Display for Diagnostic {
    /// `file:line:col: error[CODE] Kind ns/name field: message (suggestion)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}[{}]", self.origin, self.severity, self.code)?;
        if let Some(resource) = &self.resource {
            write!(f, " {resource}")?;
        }
        if !self.field.is_empty() {
            write!(f, " {}", self.field)?;
        }
        write!(f, ": {}", self.message)?;
        if let Some(suggestion) = &self.suggestion {
            write!(f, " ({suggestion})")?;
        }
        Ok(())
    }
}
