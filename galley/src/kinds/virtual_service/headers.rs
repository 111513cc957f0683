//! Changes to headers of requests and responses.

use std::collections::BTreeMap;
use std::sync::Arc;

use mesh_api::route::headers::{HeaderEdit, HeaderOperations};

use crate::kinds::findings::Findings;
use crate::kinds::operators;
use crate::kinds::rules::{self, shared};
use crate::kinds::wire::wire;
use crate::manifest::path::FieldPath;

wire! {
    WireHeaders {
        /// Changes to request headers.
        request: Option<WireOperations>,
        /// Changes to response headers.
        response: Option<WireOperations>,
    }

    WireOperations {
        /// Headers to set, instead of values that are there. Values may hold Envoy's operators, such as
        /// %REQ(NAME)%; a percent sign is %%.
        set: BTreeMap<String, String>,
        /// Headers to add to values that are there.
        add: BTreeMap<String, String>,
        /// Names of headers to remove.
        remove: Vec<String>,
    }
}

/// Field `headers` of what stands at `path`.
pub(super) fn read(
    wire: Option<&WireHeaders>,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> HeaderOperations {
    let Some(wire) = wire else {
        return HeaderOperations::default();
    };
    let path = path.field("headers");
    let mut edit = |wire: Option<&WireOperations>, field: &str, request| match wire {
        Some(wire) => operations(wire, request, &path.field(field), findings),
        None => HeaderEdit::default(),
    };
    HeaderOperations {
        request: edit(wire.request.as_ref(), "request", true),
        response: edit(wire.response.as_ref(), "response", false),
    }
}

fn operations(
    wire: &WireOperations,
    request: bool,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> HeaderEdit {
    names(&wire.set, request, true, &path.field("set"), findings);
    names(&wire.add, request, false, &path.field("add"), findings);
    for (field, values) in [("set", &wire.set), ("add", &wire.add)] {
        for (name, value) in values {
            if let Some(message) = operators::header_fault(value) {
                findings.refuse_unsupported(&path.field(field).field(name), &message);
            }
        }
    }
    for (index, name) in wire.remove.iter().enumerate() {
        if !rules::is_header_name(name) {
            findings.error(
                &path.field("remove").index(index),
                format!("\"{name}\" is not a header name"),
            );
        }
    }
    HeaderEdit {
        set: pairs(&wire.set),
        add: pairs(&wire.add),
        remove: shared(&wire.remove),
    }
}

/// Only `set` on a request may replace the authority.
fn names(
    values: &BTreeMap<String, String>,
    request: bool,
    overwrites: bool,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) {
    let mut authority = 0;
    for name in values.keys() {
        let at = path.field(name);
        let is_authority = name.eq_ignore_ascii_case("host") || name == ":authority";
        authority += usize::from(is_authority);
        if is_authority && !(request && overwrites) {
            findings.error(
                &at,
                format!("\"{name}\" can only be set, and only on requests"),
            );
        } else if !is_authority && !rules::is_header_name(name) {
            findings.error(&at, format!("\"{name}\" is not a header name"));
        }
    }
    if authority > 1 {
        findings.error(path, "the authority is set twice");
    }
}

fn pairs<C: FromIterator<(Arc<str>, Arc<str>)>>(map: &BTreeMap<String, String>) -> C {
    let pairs = map.iter();
    pairs
        .map(|(name, value)| (name.as_str().into(), value.as_str().into()))
        .collect()
}
