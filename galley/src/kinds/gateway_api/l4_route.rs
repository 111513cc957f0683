//! What `TLSRoute` and `TCPRoute` have in common: connections go to one of several backends.

use mesh_api::hostname::Hostname;
use mesh_api::resource::Meta;

use super::backend;
use super::parent::{Parent, hostnames, parents};
use super::reference::ObjectRef;
use super::rule::Backend;
use super::wire::WireBackend;
use crate::kinds::findings::Findings;
use crate::kinds::rules::each;
use crate::kinds::scope::Scope;
use crate::kinds::wire::wire;
use crate::manifest::path::FieldPath;

wire! {
    WireL4Rule {
        name: Option<String>,
        backend_refs: Vec<WireL4Backend>,
    }

    WireL4Backend {
        group: Option<String>,
        kind: Option<String>,
        namespace: Option<String>,
        name: String,
        port: Option<u32>,
        weight: Option<u32>,
    }
}

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

pub(super) fn read(
    refs: &[ObjectRef],
    hosts: &[String],
    rules: &[WireL4Rule],
    scope: &Scope<'_>,
    findings: &mut Findings<'_>,
) -> Option<L4RouteObject> {
    let root = FieldPath::ROOT;
    let path = root.field("spec");
    let hostnames = hostnames(hosts, &path, findings);
    let list = path.field("rules");
    let [rule] = rules else {
        findings.error(&list, "exactly one rule is supported");
        return None;
    };
    let parents = parents(refs, &path, scope, findings);
    let first = list.index(0);
    let at = first.field("backendRefs");
    let backends = each(&rule.backend_refs, &at, findings, |wire, at, findings| {
        backend::read(&with_filters(wire), at, scope, findings)
    });
    Some(L4RouteObject {
        meta: scope.meta.clone(),
        parents: parents?,
        hostnames: hostnames?,
        backends: backends?,
    })
}

/// The same reference as one of HTTP, which may have filters.
fn with_filters(wire: &WireL4Backend) -> WireBackend {
    WireBackend {
        group: wire.group.clone(),
        kind: wire.kind.clone(),
        namespace: wire.namespace.clone(),
        name: wire.name.clone(),
        port: wire.port,
        weight: wire.weight,
        filters: Vec::new(),
    }
}
