//! Texts that are compared with attributes of a request.

use mesh_api::authz::AuthzString;

use crate::kinds::findings::Findings;
use crate::manifest::path::FieldPath;

/// Namespaces and templates of paths become expressions with up to four states for a character.
const PATTERN_BYTES_MAX: usize = 8192;

/// Texts with a star at one end at most.
pub(super) fn strings(
    values: &[String],
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Vec<AuthzString> {
    let values = values.iter().enumerate();
    values
        .map(|(index, value)| string(value, &path.index(index), findings))
        .collect()
}

pub(super) fn string(
    value: &str,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> AuthzString {
    if value.is_empty() {
        findings.error(path, "the value is empty");
    }
    let inner = value.strip_prefix('*').unwrap_or(value);
    let inner = if inner.len() == value.len() {
        inner.strip_suffix('*').unwrap_or(inner)
    } else {
        inner
    };
    if inner.contains('*') && value != "*" {
        findings
            .warn(
                path,
                format!("the star inside of \"{value}\" is taken literally"),
            )
            .suggest("a wildcard may stand at the beginning or at the end, not both");
    }
    AuthzString::parse(value)
}

/// Values that become expressions, whose programs have a limit in the proxy.
///
/// Differs from Istio, which takes any length. No namespace and no path that a proxy accepts is that long.
pub(super) fn short(value: &str, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    if value.len() > PATTERN_BYTES_MAX {
        let message = format!("the value is longer than {PATTERN_BYTES_MAX} characters");
        findings.error(path, message);
    }
}

/// A port number that is written as text.
pub(super) fn port(text: &str, path: &FieldPath<'_>, findings: &mut Findings<'_>) -> Option<u16> {
    let port = text.parse::<u16>().ok().filter(|port| *port > 0);
    if port.is_none() {
        let message = format!("\"{text}\" is not a port between 1 and 65535");
        findings.error(path, message);
    }
    port
}
