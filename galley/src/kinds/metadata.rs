//! Names of objects, by Kubernetes' rules.

use mesh_api::resource::Meta;

use super::descriptor::Names;
use super::findings::Findings;
use super::rules::is_dns_label;
use crate::manifest::path::FieldPath;

/// Checks how the object is called.
pub(super) fn check(meta: &Meta, names: Names, findings: &mut Findings<'_>) {
    let root = FieldPath::ROOT;
    let path = root.field("metadata");
    let name = meta.name();
    let legal = match names {
        Names::PathSegment => is_path_segment(name),
        Names::Dns => name.len() <= 253 && name.split('.').all(is_dns_segment),
    };
    if !legal {
        findings
            .error(
                &path.field("name"),
                format!("\"{name}\" is not a legal name"),
            )
            .suggest("use lower-case letters, digits, '-' and '.'");
    }
    let namespace = meta.namespace();
    if !namespace.is_empty() && !is_dns_label(namespace) {
        findings
            .error(
                &path.field("namespace"),
                format!("\"{namespace}\" is not a legal namespace"),
            )
            .suggest("use at most 63 lower-case letters, digits and '-'");
    }
}

fn is_path_segment(name: &str) -> bool {
    !matches!(name, "." | "..") && !name.contains(['/', '%'])
}

fn is_dns_segment(segment: &str) -> bool {
    !segment.is_empty()
        && !segment.starts_with('-')
        && !segment.ends_with('-')
        && segment
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}
