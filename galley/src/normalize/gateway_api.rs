//! Kinds of the Kubernetes Gateway API, each by itself.
//!
//! References are resolved and attached when the snapshot is made, since that takes
//! all objects together; here fields are parsed and references completed.

mod cors;
mod filter;
mod grpc_route;
mod http_route;
mod l4_route;
mod listener;
mod parent;
mod retry;

pub use self::filter::{MirrorTo, Modifier, RequestRedirect, UrlRewrite};
pub use self::http_route::{Backend, HttpRouteObject, Match, PathMatch, Rule};
pub use self::l4_route::L4RouteObject;
pub use self::listener::{
    Listener, ListenerProtocol, NamespaceSelector, Operator, Requirement, RoutesFrom,
};
pub use self::parent::Parent;

pub(super) use self::grpc_route::normalize as grpc_route;
pub(super) use self::http_route::normalize as http_route;
pub(super) use self::l4_route::{tcp_route, tls_route};

use std::sync::Arc;

use mesh_api::labels::Labels;
use mesh_api::resource::Meta;

use self::listener::listener;
use super::{Fault, Scope, labels, some};
use crate::crd::gateway_api as wire;
use crate::manifest::path::FieldPath;

/// The controller that GatewayClasses of this mesh name.
pub const CONTROLLER: &str = "istio.io/gateway-controller";

/// The API group.
pub const GROUP: &str = "gateway.networking.k8s.io";

/// A `Gateway`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubernetesGateway {
    /// The object.
    pub meta: Meta,
    /// Its class.
    pub class: Arc<str>,
    /// `listeners`.
    pub listeners: Vec<Listener>,
    /// Host names of Services that exist already; without one, the Gateway gets its own.
    pub addresses: Vec<Arc<str>>,
    /// `infrastructure.labels`.
    pub labels: Labels,
    /// `infrastructure.annotations`.
    pub annotations: Labels,
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

/// A `ReferenceGrant`: who may refer into its namespace, and to what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferenceGrant {
    /// The namespace that is referred into.
    pub namespace: Arc<str>,
    /// Who may refer.
    pub from: Vec<Referrer>,
    /// To what.
    pub to: Vec<Referent>,
}

/// Objects of one kind in one namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referrer {
    /// API group.
    pub group: Arc<str>,
    /// Kind.
    pub kind: Arc<str>,
    /// Namespace.
    pub namespace: Arc<str>,
}

/// One object, or all of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referent {
    /// API group.
    pub group: Arc<str>,
    /// Kind.
    pub kind: Arc<str>,
    /// Name; `None` for all.
    pub name: Option<Arc<str>>,
}

/// Whether a class is for this mesh.
pub(super) fn is_ours(class: &wire::GatewayClass) -> bool {
    class.controller_name == CONTROLLER
}

pub(super) fn gateway(spec: &wire::Gateway, scope: &Scope<'_>) -> Result<KubernetesGateway, Fault> {
    let root = FieldPath::ROOT;
    let path = root.field("spec");
    let list = path.field("listeners");
    let listeners = spec.listeners.iter().enumerate();
    let infrastructure = spec.infrastructure.clone().unwrap_or_default();
    let addresses = spec.addresses.iter();
    Ok(KubernetesGateway {
        meta: scope.meta.clone(),
        class: spec.gateway_class_name.as_str().into(),
        listeners: listeners
            .map(|(index, one)| listener(one, &list.index(index), scope))
            .collect::<Result<_, _>>()?,
        addresses: addresses
            .filter(|address| address.r#type.as_deref() == Some("Hostname"))
            .filter_map(|address| address.value.as_deref().and_then(some))
            .collect(),
        labels: labels(&infrastructure.labels),
        annotations: labels(&infrastructure.annotations),
    })
}

fn reference(wire: &wire::ObjectRef, group: &str, kind: &str, scope: &Scope<'_>) -> Reference {
    let namespace = wire.namespace.as_deref().and_then(some);
    Reference {
        group: wire.group.as_deref().unwrap_or(group).into(),
        kind: wire.kind.as_deref().unwrap_or(kind).into(),
        namespace: namespace.unwrap_or_else(|| scope.meta.key.namespace.clone()),
        name: wire.name.as_str().into(),
    }
}

pub(super) fn grant(spec: &wire::ReferenceGrant, scope: &Scope<'_>) -> ReferenceGrant {
    let text = |value: &Option<String>| Arc::from(value.as_deref().unwrap_or_default());
    let from = spec.from.iter();
    let to = spec.to.iter();
    ReferenceGrant {
        namespace: scope.meta.key.namespace.clone(),
        from: from
            .map(|one| Referrer {
                group: text(&one.group),
                kind: text(&one.kind),
                namespace: text(&one.namespace),
            })
            .collect(),
        to: to
            .map(|one| Referent {
                group: text(&one.group),
                kind: text(&one.kind),
                name: some(&one.name),
            })
            .collect(),
    }
}
