//! `TLSRoute` and `TCPRoute`: connections go to one of several backends.

use mesh_api::hostname::Hostname;
use mesh_api::resource::Meta;

use super::http_route::{Backend, backend};
use super::parent::{Parent, hostnames, parents};
use crate::crd::gateway_api as wire;
use crate::manifest::path::FieldPath;
use crate::normalize::{Fault, Scope};

/// A `TLSRoute` or a `TCPRoute`; the kind stands in the object's key.
#[derive(Debug, Clone, PartialEq)]
pub struct L4RouteObject {
    /// The object.
    pub meta: Meta,
    /// `parentRefs`.
    pub parents: Vec<Parent>,
    /// `hostnames`: server names that clients ask for; empty for those of the listener.
    pub hostnames: Vec<Hostname>,
    /// `backendRefs` of the only rule.
    pub backends: Vec<Backend>,
}

impl L4RouteObject {
    /// True for connections that begin with TLS.
    pub fn is_tls(&self) -> bool {
        &*self.meta.key.kind == "TLSRoute"
    }
}

pub(in crate::normalize) fn tls_route(
    spec: &wire::TlsRoute,
    scope: &Scope<'_>,
) -> Result<L4RouteObject, Fault> {
    let root = FieldPath::ROOT;
    let path = root.field("spec");
    Ok(L4RouteObject {
        hostnames: hostnames(&spec.hostnames, &path, scope)?,
        ..route(&spec.parent_refs, &spec.rules, &path, scope)?
    })
}

pub(in crate::normalize) fn tcp_route(
    spec: &wire::TcpRoute,
    scope: &Scope<'_>,
) -> Result<L4RouteObject, Fault> {
    let root = FieldPath::ROOT;
    route(&spec.parent_refs, &spec.rules, &root.field("spec"), scope)
}

fn route(
    refs: &[wire::ObjectRef],
    rules: &[wire::L4Rule],
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
) -> Result<L4RouteObject, Fault> {
    let list = path.field("rules");
    let [rule] = rules else {
        return Err(scope.fault(&list, "exactly one rule is supported"));
    };
    let first = list.index(0);
    let at = first.field("backendRefs");
    let backends = rule.backend_refs.iter().enumerate();
    Ok(L4RouteObject {
        meta: scope.meta.clone(),
        parents: parents(refs, path, scope)?,
        hostnames: Vec::new(),
        backends: backends
            .map(|(index, one)| backend(&with_filters(one), &at.index(index), scope))
            .collect::<Result<_, _>>()?,
    })
}

/// The same reference as one of HTTP, which may have filters.
fn with_filters(wire: &wire::L4BackendRef) -> wire::BackendRef {
    wire::BackendRef {
        group: wire.group.clone(),
        kind: wire.kind.clone(),
        namespace: wire.namespace.clone(),
        name: wire.name.clone(),
        port: wire.port,
        weight: wire.weight,
        filters: Vec::new(),
    }
}
