//! Findings as text or data.

use mesh_api::diagnostic::{Diagnostic, Severity};
use mesh_api::resource::Origin;
use serde::Serialize;

use crate::output::{self, Format};

/// A finding as `-o json` shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct View<'a> {
    code: &'a str,
    severity: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<u32>,
    #[serde(skip_serializing_if = "str::is_empty")]
    field: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    suggestion: Option<&'a str>,
}

impl<'a> From<&'a Diagnostic> for View<'a> {
    fn from(diagnostic: &'a Diagnostic) -> Self {
        let (file, line, column) = match &diagnostic.origin {
            Origin::File { path, line, column } => (Some(&**path), Some(*line), Some(*column)),
            Origin::Cluster { .. } | Origin::BuiltIn => (None, None, None),
        };
        Self {
            code: diagnostic.code,
            severity: diagnostic.severity.to_string(),
            resource: diagnostic.resource.as_ref().map(ToString::to_string),
            file,
            line,
            column,
            field: &diagnostic.field,
            message: &diagnostic.message,
            suggestion: diagnostic.suggestion.as_deref(),
        }
    }
}

/// Prints findings, the worst last so that they stay on the screen.
pub(super) fn print(format: Format, findings: &[Diagnostic]) -> anyhow::Result<()> {
    if format != Format::Table {
        let views: Vec<View<'_>> = findings.iter().map(View::from).collect();
        return output::structured(format, &views);
    }
    for severity in [Severity::Info, Severity::Warning, Severity::Error] {
        for finding in findings
            .iter()
            .filter(|finding| finding.severity == severity)
        {
            output::line(&output::finding(finding))?;
        }
    }
    Ok(())
}

/// Whether something must be mended.
pub(super) fn has_errors(findings: &[Diagnostic]) -> bool {
    findings
        .iter()
        .any(|finding| finding.severity == Severity::Error)
}
