//! What routes of all kinds have in common: parents and hosts.

use std::sync::Arc;

use mesh_api::hostname::Hostname;
use serde_json::{Map, Value, json};

use super::http_route::port;
use super::{GROUP, Reference, reference};
use crate::crd::gateway_api as wire;
use crate::manifest::path::FieldPath;
use crate::normalize::{Fault, Scope, some};

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
    refs: &[wire::ObjectRef],
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
) -> Result<Vec<Parent>, Fault> {
    let list = path.field("parentRefs");
    let refs = refs.iter().enumerate();
    refs.map(|(index, one)| parent(one, &list.index(index), scope))
        .collect()
}

/// `hostnames`. `path` is that of `spec`.
pub(super) fn hostnames(
    texts: &[String],
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
) -> Result<Vec<Hostname>, Fault> {
    let list = path.field("hostnames");
    let parse = |(index, text): (usize, &String)| {
        let host = text.parse();
        host.map_err(|error| scope.fault(&list.index(index), error))
    };
    texts.iter().enumerate().map(parse).collect()
}

fn parent(
    wire: &wire::ObjectRef,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
) -> Result<Parent, Fault> {
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
    Ok(Parent {
        to: reference(wire, GROUP, "Gateway", scope),
        section: wire.section_name.as_deref().and_then(some),
        port: port(wire.port, path, scope)?,
        written: Value::Object(written),
    })
}
