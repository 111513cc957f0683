//! What routes of all kinds have in common: parents and hosts.

use std::sync::Arc;

use mesh_api::hostname::Hostname;
use serde_json::{Map, Value, json};

use super::reference::{GROUP, ObjectRef, Reference, port, reference};
use crate::kinds::findings::Findings;
use crate::kinds::rules::{self, each, some};
use crate::kinds::scope::Scope;
use crate::manifest::path::FieldPath;

/// One `parentRefs[]` entry.
#[derive(Debug, Clone, PartialEq)]
pub struct Parent {
    /// The object.
    pub to: Reference,
    /// One listener of it.
    pub section: Option<Arc<str>>,
    /// Listeners, or the Service's port, of this number.
    pub port: Option<u16>,
    /// As written, for the status.
    pub written: Value,
}

/// `parentRefs`. `path` is that of `spec`.
pub(super) fn parents(
    refs: &[ObjectRef],
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
    findings: &mut Findings<'_>,
) -> Option<Vec<Parent>> {
    each(
        refs,
        &path.field("parentRefs"),
        findings,
        |wire, at, findings| {
            Some(Parent {
                to: reference(wire, GROUP, "Gateway", scope),
                section: wire.section_name.as_deref().and_then(some),
                port: port(wire.port, at, findings)?,
                written: written(wire),
            })
        },
    )
}

/// `hostnames`. `path` is that of `spec`.
pub(super) fn hostnames(
    texts: &[String],
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<Vec<Hostname>> {
    each(
        texts,
        &path.field("hostnames"),
        findings,
        |text, at, findings| rules::host(text, at, findings),
    )
}

fn written(wire: &ObjectRef) -> Value {
    let texts = [
        ("group", &wire.group),
        ("kind", &wire.kind),
        ("namespace", &wire.namespace),
        ("sectionName", &wire.section_name),
    ];
    let mut written = Map::from_iter([("name".to_owned(), json!(wire.name))]);
    written.extend(
        texts
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), json!(value.as_ref()?)))),
    );
    written.extend(wire.port.map(|port| ("port".to_owned(), json!(port))));
    Value::Object(written)
}
