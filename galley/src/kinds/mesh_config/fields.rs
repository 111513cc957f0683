//! Fields that several settings have alike.

use crate::kinds::findings::Findings;
use crate::kinds::rules;
use crate::manifest::path::FieldPath;

/// A port with a default.
pub(super) fn port(
    written: Option<u32>,
    default: u16,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<u16> {
    match written {
        Some(number) => rules::port(number, path, findings),
        None => Some(default),
    }
}

/// Reports fields that have no effect, of those that are set.
pub(super) fn report_unsupported(
    fields: &[(&str, bool)],
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) {
    for (field, set) in fields {
        if *set {
            findings.not_supported(&path.field(field));
        }
    }
}
