//! Kinds of the Kubernetes Gateway API, gateway.networking.k8s.io, each by itself. Its reference documents the fields.
//!
//! References are resolved and attached when the snapshot is made, since that takes
//! all objects together; here fields are parsed and references completed.

pub(crate) mod gateway;
pub(crate) mod gateway_class;
pub(crate) mod grpc_route;
pub(crate) mod http_route;
pub(crate) mod reference_grant;
pub(crate) mod tcp_route;
pub(crate) mod tls_route;

mod backend;
mod cors;
mod filter;
mod headers;
mod l4_route;
mod listener;
mod parent;
mod path_match;
mod reference;
mod retry;
mod rule;
mod wire;

pub use self::gateway::KubernetesGateway;
pub use self::gateway_class::CONTROLLER;
pub use self::http_route::HttpRouteObject;
pub use self::l4_route::L4RouteObject;
pub use self::listener::{
    Listener, ListenerProtocol, NamespaceSelector, Operator, Requirement, RoutesFrom,
};
pub use self::parent::Parent;
pub use self::path_match::PathMatch;
pub use self::reference::{GROUP, Reference};
pub use self::reference_grant::{ReferenceGrant, Referent, Referrer};
pub use self::rule::{Backend, Match, MirrorTo, Modifier, RequestRedirect, Rule, UrlRewrite};
