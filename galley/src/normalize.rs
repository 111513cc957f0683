//! From the wire structs to the model: names expanded, defaults applied, text parsed.
//!
//! Objects arrive validated, so a failure here is an object that `validate` let
//! through although the model cannot hold it; it is refused like any other.
//! One file per kind.

mod destination_rule;
mod endpoint_slice;
mod gateway;
pub mod gateway_api;
mod ingress;
mod mesh_config;
mod pod;
pub(crate) mod rbac;
mod secret;
mod service;
mod sidecar;
mod traffic_policy;
mod virtual_service;

pub(crate) use self::mesh_config::{
    KEY as MESH_CONFIG_KEY, NAME as MESH_CONFIG_NAME, embedded as embedded_mesh_config,
};
pub(crate) use self::pod::{CANONICAL_NAME, CANONICAL_REVISION};
pub(crate) use self::service::{external_name, load_balancer_addresses};
pub(crate) use self::virtual_service::grpc_status;

use std::collections::BTreeMap;
use std::sync::Arc;

use mesh_api::authn::{PeerAuthentication, RequestAuthentication};
use mesh_api::authz::AuthorizationPolicy;
use mesh_api::hostname::Hostname;
use mesh_api::labels::{Labels, Selector};
use mesh_api::mesh_config::MeshConfig;
use mesh_api::regex::RegexError;
use mesh_api::resource::Meta;
use mesh_api::route::VirtualService;
use mesh_api::service::Service;
use mesh_api::snapshot::Credential;
use mesh_api::telemetry::Telemetry;
use mesh_api::traffic_policy::DestinationRule;

pub use self::endpoint_slice::{Slice, SliceEndpoint};
pub use self::ingress::{
    Ingress, IngressBackend, IngressPath, IngressPort, IngressRule, IngressTls,
};
pub use self::pod::Pod;
pub use crate::kinds::service_entry::ServiceEntry;
pub use crate::kinds::workload_entry::Machine;

use crate::crd::WorkloadSelector;
use crate::decode::finding::quoted;
use crate::kinds::rules::{shared, some};
pub use crate::kinds::scope::Context;
use crate::kinds::scope::{Scope, visibility};
use crate::manifest::Document;
use crate::manifest::node::Position;
use crate::manifest::path::FieldPath;
use crate::object::Spec;

/// An object as meant. Kinds that become part of the snapshot only together with
/// others (pods, slices) have types of their own.
#[derive(Debug, Clone)]
pub enum Model {
    /// Mesh-wide settings (a ConfigMap of the root namespace, `istio` by default).
    MeshConfig(Arc<MeshConfig>),
    /// A Kubernetes Service.
    Service(Arc<Service>),
    /// An external or manual service: one model service for each host.
    ServiceEntry(Arc<ServiceEntry>),
    /// A WorkloadEntry.
    Machine(Arc<Machine>),
    /// An EndpointSlice.
    Slice(Arc<Slice>),
    /// A pod.
    Pod(Arc<Pod>),
    /// An Ingress, of whatever class.
    Ingress(Arc<Ingress>),
    /// An IngressClass: whether it names this mesh's controller.
    IngressClass(bool),
    /// A GatewayClass: whether it names this mesh's controller.
    GatewayClass(bool),
    /// A Gateway of the Gateway API.
    KubernetesGateway(Arc<gateway_api::KubernetesGateway>),
    /// An HTTPRoute or a GRPCRoute.
    HttpRoute(Arc<gateway_api::HttpRouteObject>),
    /// A TLSRoute or a TCPRoute.
    L4Route(Arc<gateway_api::L4RouteObject>),
    /// A ReferenceGrant.
    ReferenceGrant(Arc<gateway_api::ReferenceGrant>),
    /// A node: its labels.
    Node(Labels),
    /// A namespace: its labels.
    Namespace(Labels),
    /// A Secret with a certificate.
    Credential(Arc<Credential>),
    /// A Role or a ClusterRole.
    Role {
        /// Whether it permits to list all Secrets.
        lists_secrets: bool,
    },
    /// A RoleBinding or a ClusterRoleBinding.
    Binding(Arc<rbac::Binding>),
    /// Itself.
    VirtualService(Arc<VirtualService>),
    /// Itself.
    DestinationRule(Arc<DestinationRule>),
    /// Itself.
    Gateway(Arc<mesh_api::gateway::Gateway>),
    /// Itself.
    Sidecar(Arc<mesh_api::sidecar::Sidecar>),
    /// Itself.
    PeerAuthentication(Arc<PeerAuthentication>),
    /// Itself.
    RequestAuthentication(Arc<RequestAuthentication>),
    /// Itself.
    AuthorizationPolicy(Arc<AuthorizationPolicy>),
    /// Itself.
    Telemetry(Arc<Telemetry>),
    /// Of no concern to the mesh: other ConfigMaps and Secrets, service accounts.
    Nothing,
}

/// Why the model cannot hold an object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct Fault {
    /// The field.
    pub path: String,
    /// Where it stands.
    pub position: Position,
    /// What is wrong.
    pub message: String,
}

/// The meaning of an object.
pub(crate) fn normalize(
    meta: &Meta,
    spec: &Spec,
    document: &Document,
    context: &Context<'_>,
) -> Result<Model, Fault> {
    let scope = Scope::new(meta, document, context);
    Ok(match spec {
        Spec::ConfigMap(map) => mesh_config::normalize(map, &scope)?,
        Spec::Namespace(_) => Model::Namespace(meta.labels.clone()),
        Spec::Node(_) => Model::Node(meta.labels.clone()),
        Spec::Secret(secret) => secret::normalize(secret, &scope)?,
        Spec::ServiceAccount(_) => Model::Nothing,
        Spec::Pod(pod) => Model::Pod(Arc::new(pod::normalize(pod, &scope)?)),
        Spec::Service(service) => Model::Service(Arc::new(service::normalize(service, &scope)?)),
        Spec::EndpointSlice(slice) => {
            Model::Slice(Arc::new(endpoint_slice::normalize(slice, &scope)?))
        }
        Spec::Role(role) => Model::Role {
            lists_secrets: rbac::lists_secrets(role.rules.as_deref()),
        },
        Spec::ClusterRole(role) => Model::Role {
            lists_secrets: rbac::lists_secrets(role.rules.as_deref()),
        },
        Spec::RoleBinding(binding) => {
            let subjects = binding.subjects.as_deref();
            Model::Binding(Arc::new(rbac::binding(&binding.role_ref, subjects, &scope)))
        }
        Spec::ClusterRoleBinding(binding) => {
            let subjects = binding.subjects.as_deref();
            Model::Binding(Arc::new(rbac::binding(&binding.role_ref, subjects, &scope)))
        }
        Spec::Ingress(spec) => Model::Ingress(Arc::new(ingress::normalize(spec, &scope)?)),
        Spec::IngressClass(class) => Model::IngressClass(ingress::is_ours(class)),
        Spec::GatewayClass(class) => Model::GatewayClass(gateway_api::is_ours(class)),
        Spec::KubernetesGateway(spec) => {
            Model::KubernetesGateway(Arc::new(gateway_api::gateway(spec, &scope)?))
        }
        Spec::HttpRoute(spec) => Model::HttpRoute(Arc::new(gateway_api::http_route(spec, &scope)?)),
        Spec::GrpcRoute(spec) => Model::HttpRoute(Arc::new(gateway_api::grpc_route(spec, &scope)?)),
        Spec::TlsRoute(spec) => Model::L4Route(Arc::new(gateway_api::tls_route(spec, &scope)?)),
        Spec::TcpRoute(spec) => Model::L4Route(Arc::new(gateway_api::tcp_route(spec, &scope)?)),
        Spec::ReferenceGrant(spec) => {
            Model::ReferenceGrant(Arc::new(gateway_api::grant(spec, &scope)))
        }
        Spec::Gateway(spec) => Model::Gateway(Arc::new(gateway::normalize(spec, &scope)?)),
        Spec::VirtualService(spec) => {
            Model::VirtualService(Arc::new(virtual_service::normalize(spec, &scope)?))
        }
        Spec::DestinationRule(spec) => {
            Model::DestinationRule(Arc::new(destination_rule::normalize(spec, &scope)?))
        }
        Spec::Sidecar(spec) => Model::Sidecar(Arc::new(sidecar::normalize(spec, &scope)?)),
    })
}

impl Scope<'_> {
    fn fault(&self, path: &FieldPath<'_>, message: impl ToString) -> Fault {
        Fault {
            path: path.to_string(),
            position: path.position_in(&self.document.node),
            message: message.to_string(),
        }
    }

    /// An expression as it stands in the field.
    fn regex(&self, text: &str, path: &FieldPath<'_>) -> Result<Arc<str>, Fault> {
        self.judged(self.budget.written(text), text, path)
    }

    /// An expression that is made of the field.
    fn composed(&self, text: &str, path: &FieldPath<'_>) -> Result<Arc<str>, Fault> {
        self.judged(self.budget.expression(text), text, path)
    }

    fn judged(
        &self,
        judged: Result<(), RegexError>,
        text: &str,
        path: &FieldPath<'_>,
    ) -> Result<Arc<str>, Fault> {
        let message = |error| format!("{} is not a regular expression: {error}", quoted(text));
        judged.map_err(|error| self.fault(path, message(error)))?;
        Ok(text.into())
    }

    /// A host; a short name is one of the rule's own namespace, never of the
    /// namespace that the service is in.
    fn old_host(&self, text: &str, path: &FieldPath<'_>) -> Result<Hostname, Fault> {
        let short = !text.contains(['.', '*']) && !text.is_empty();
        let full = match short {
            true => format!(
                "{text}.{}.svc.{}",
                self.meta.namespace(),
                self.mesh.cluster_domain
            ),
            false => text.to_owned(),
        };
        full.parse().map_err(|error| self.fault(path, error))
    }

    fn hosts(&self, texts: &[String], path: &FieldPath<'_>) -> Result<Vec<Hostname>, Fault> {
        texts
            .iter()
            .enumerate()
            .map(|(index, text)| self.old_host(text, &path.index(index)))
            .collect()
    }

    fn port(&self, number: u32, path: &FieldPath<'_>) -> Result<u16, Fault> {
        u16::try_from(number)
            .ok()
            .filter(|number| *number > 0)
            .ok_or_else(|| self.fault(path, format!("port {number} is not between 1 and 65535")))
    }
}

fn labels(map: &BTreeMap<String, String>) -> Labels {
    map.iter().collect()
}

fn workload_selector(selector: Option<&WorkloadSelector>) -> Option<Selector> {
    let selector = selector.filter(|selector| !selector.labels.is_empty())?;
    Some(Selector::new(labels(&selector.labels)))
}
