//! Rules on a single object: everything that can be said without looking at others.
//!
//! An error refuses the object, a warning admits it. Messages quote the offending
//! value; suggestions say what to write instead. One file per kind.

mod destination_rule;
mod gateway;
mod mesh_config;
mod sidecar;
mod traffic_policy;
mod virtual_service;

use mesh_api::resource::Meta;

pub(crate) use crate::kinds::findings::Findings;
pub(crate) use crate::kinds::rules::parse_subnet;
use crate::kinds::scope::Context;
use crate::kinds::{operators, rules};
use crate::manifest::path::FieldPath;
use crate::object::Spec;

/// Checks an object.
pub(crate) fn validate(
    meta: &Meta,
    spec: &Spec,
    context: &Context<'_>,
    findings: &mut Findings<'_>,
) {
    let root = FieldPath::ROOT;
    let path = root.field("spec");
    crate::kinds::metadata::check(meta, findings);
    match spec {
        // The API server's own validation has passed these, and `normalize` reports
        // what it cannot use.
        Spec::Namespace(_)
        | Spec::Node(_)
        | Spec::Secret(_)
        | Spec::ServiceAccount(_)
        | Spec::Pod(_)
        | Spec::Service(_)
        | Spec::EndpointSlice(_)
        | Spec::Role(_)
        | Spec::ClusterRole(_)
        | Spec::RoleBinding(_)
        | Spec::ClusterRoleBinding(_)
        | Spec::Ingress(_)
        | Spec::IngressClass(_)
        | Spec::GatewayClass(_)
        | Spec::KubernetesGateway(_)
        | Spec::HttpRoute(_)
        | Spec::GrpcRoute(_)
        | Spec::TlsRoute(_)
        | Spec::TcpRoute(_)
        | Spec::ReferenceGrant(_) => {}
        Spec::ConfigMap(map) => mesh_config::validate(map, meta, context, findings),
        Spec::Gateway(spec) => gateway::validate(spec, &path, findings),
        Spec::VirtualService(spec) => virtual_service::validate(spec, meta, &path, findings),
        Spec::DestinationRule(spec) => destination_rule::validate(spec, meta, &path, findings),
        Spec::Sidecar(spec) => sidecar::validate(spec, &path, findings),
    }
}
