//! `backendRefs[]`: a Service, and how much of the traffic it receives.

use mesh_api::route::headers::HeaderOperations;

use super::headers::header_filter;
use super::reference::{ObjectRef, port, reference};
use super::rule::Backend;
use super::wire::WireBackend;
use crate::kinds::findings::Findings;
use crate::kinds::scope::Scope;
use crate::manifest::path::FieldPath;

pub(super) fn read(
    wire: &WireBackend,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
    findings: &mut Findings<'_>,
) -> Option<Backend> {
    let mut headers = HeaderOperations::default();
    for one in &wire.filters {
        if !header_filter(one, &mut headers) {
            let message = format!(
                "filter \"{}\" of a backend is not supported yet",
                one.r#type
            );
            findings.error(&path.field("filters"), message);
            return None;
        }
    }
    let to = ObjectRef {
        group: wire.group.clone(),
        kind: wire.kind.clone(),
        namespace: wire.namespace.clone(),
        name: wire.name.clone(),
        ..ObjectRef::default()
    };
    Some(Backend {
        to: reference(&to, "", "Service", scope),
        port: port(wire.port, path, findings)?,
        weight: wire.weight.unwrap_or(1),
        headers,
    })
}
