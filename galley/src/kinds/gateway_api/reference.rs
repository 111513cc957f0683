//! References to objects.

use std::sync::Arc;

use crate::kinds::findings::Findings;
use crate::kinds::rules::{self, some};
use crate::kinds::scope::Scope;
use crate::kinds::wire::wire;
use crate::manifest::path::FieldPath;

/// The API group.
pub const GROUP: &str = "gateway.networking.k8s.io";

wire! {
    /// A reference to an object; which fields may be set depends on the place.
    ObjectRef {
        group: Option<String>,
        kind: Option<String>,
        namespace: Option<String>,
        name: String,
        section_name: Option<String>,
        port: Option<u32>,
    }
}

/// A reference to an object in some namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// API group.
    pub group: Arc<str>,
    /// Kind.
    pub kind: Arc<str>,
    /// Namespace, by default that of the object that refers.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

/// The object that is meant where group and kind have these defaults.
pub(super) fn reference(wire: &ObjectRef, group: &str, kind: &str, scope: &Scope<'_>) -> Reference {
    let namespace = wire.namespace.as_deref().and_then(some);
    Reference {
        group: wire.group.as_deref().unwrap_or(group).into(),
        kind: wire.kind.as_deref().unwrap_or(kind).into(),
        namespace: namespace.unwrap_or_else(|| scope.meta.key.namespace.clone()),
        name: wire.name.as_str().into(),
    }
}

/// Field `port` of what stands at `path`, which may be absent.
pub(super) fn port(
    number: Option<u32>,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<Option<u16>> {
    match number {
        Some(number) => rules::port(number, &path.field("port"), findings).map(Some),
        None => Some(None),
    }
}
