//! The kinds that galley reads: one file or folder for each, with the wire struct, the reading of it and, for policies,
//! what stands in for a refused object.
//!
//! A wire struct is what a user writes, and everything in it is optional. `Read::read` makes the model of it and
//! reports what is wrong in the same step, so nothing is parsed twice and no rule can be forgotten by one of two
//! passes. A kind is added by its file and by its line in the table below.

pub mod definition;

pub(crate) mod descriptor;
mod findings;
mod metadata;
mod operators;
mod read;
mod rules;
mod scope;
mod stand_in;
mod wire;

pub(crate) mod authorization_policy;
pub(crate) mod destination_rule;
pub mod endpoint_slice;
pub(crate) mod gateway;
pub mod gateway_api;
pub mod ingress;
mod ingress_class;
pub(crate) mod mesh_config;
mod namespace;
mod node;
pub(crate) mod peer_authentication;
pub mod pod;
pub(crate) mod request_authentication;
pub mod role;
pub mod role_binding;
mod secret;
pub mod service;
mod service_account;
pub mod service_entry;
pub(crate) mod sidecar;
pub(crate) mod telemetry;
mod traffic_policy;
mod unread;
pub(crate) mod virtual_service;
pub mod workload_entry;

use std::sync::Arc;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use k8s_openapi::api::networking::v1 as networking;
use k8s_openapi::api::rbac::v1 as rbac;
use mesh_api::authn::{PeerAuthentication, RequestAuthentication};
use mesh_api::authz::AuthorizationPolicy;
use mesh_api::labels::Labels;
use mesh_api::mesh_config::MeshConfig;
use mesh_api::resource::Meta;
use mesh_api::route::VirtualService;
use mesh_api::service::Service;
use mesh_api::snapshot::Credential;
use mesh_api::telemetry::Telemetry;
use mesh_api::traffic_policy::DestinationRule;

pub use self::scope::Context;

use self::definition::Definition;
use self::descriptor::Descriptor;
use self::read::Read;
use self::stand_in::StandIn;
use crate::decode::finding::Finding;
use crate::manifest::Document;

/// Makes `Kind` and `Model` of lines `KIND: WIRE STRUCT => VARIANT(TYPE OF THE MODEL)`. The type is left out where the
/// variant is that of another kind, and `Nothing` is a kind that adds nothing to the model.
macro_rules! kinds {
    ($($kind:ident: $wire:ty => $variant:ident $(($model:ty))?;)*) => {
        /// The kinds behind the model.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[allow(missing_docs, reason = "the table says what they are")]
        pub enum Kind {
            $($kind,)*
        }

        /// An object as meant. Kinds that become part of the snapshot only together with
        /// others (pods, slices) have types of their own.
        #[derive(Debug, Clone)]
        #[allow(missing_docs, reason = "the table says what they are")]
        pub enum Model {
            $($($variant($model),)?)*
            /// Of no concern to the mesh: other ConfigMaps and Secrets, service accounts.
            Nothing,
        }

        impl Kind {
            /// All of them.
            pub(crate) const ALL: &'static [Self] = &[$(Self::$kind,)*];

            /// The kind's names.
            pub(crate) fn descriptor(self) -> &'static Descriptor {
                match self {
                    $(Self::$kind => const { &<$wire as Read>::KIND },)*
                }
            }

            /// Reads an object whose metadata has been read before.
            pub(crate) fn read(
                self,
                document: &Document,
                meta: Option<&Meta>,
                context: &Context<'_>,
                findings: &mut Vec<Finding>,
            ) -> Option<Model> {
                match self {
                    $(Self::$kind => {
                        let model = read::read::<$wire>(document, meta, context, findings)?;
                        Some(kinds!(@model $variant model))
                    })*
                }
            }

            /// The schema of the wire struct, and a small legal value of it.
            #[cfg(any(test, feature = "test-util"))]
            pub(crate) fn example(self) -> (serde_json::Value, serde_json::Value) {
                match self {
                    $(Self::$kind => (definition::schema_of::<$wire>(), <$wire>::sample()),)*
                }
            }

            /// What stands in for a refused object of which no good version is known.
            pub(crate) fn stand_in(self, meta: &Meta, document: &Document) -> Option<Model> {
                let stand_in = match self {
                    $(Self::$kind => <$wire as Read>::STAND_IN,)*
                };
                let stand_in = stand_in::stand_in(stand_in, meta, document);
                Some(match stand_in? {
                    StandIn::AuthorizationPolicy(policy) => {
                        Model::AuthorizationPolicy(Arc::new(policy))
                    }
                    StandIn::PeerAuthentication(policy) => {
                        Model::PeerAuthentication(Arc::new(policy))
                    }
                })
            }
        }
    };
    (@model Nothing $model:ident) => {{
        let () = $model;
        Model::Nothing
    }};
    (@model $variant:ident $model:ident) => {
        Option::from($model).map_or(Model::Nothing, Model::$variant)
    };
}

kinds! {
    // Mesh-wide settings: a ConfigMap of the root namespace, `istio` by default.
    ConfigMap: core::ConfigMap => MeshConfig(Arc<MeshConfig>);
    // Its labels.
    Namespace: core::Namespace => Namespace(Labels);
    // Its labels.
    Node: core::Node => Node(Labels);
    // A Secret with a certificate.
    Secret: core::Secret => Credential(Arc<Credential>);
    ServiceAccount: core::ServiceAccount => Nothing;
    Pod: core::Pod => Pod(Arc<pod::Pod>);
    Service: core::Service => Service(Arc<Service>);
    EndpointSlice: discovery::EndpointSlice => Slice(Arc<endpoint_slice::Slice>);
    Role: rbac::Role => Role(role::Role);
    ClusterRole: rbac::ClusterRole => Role;
    RoleBinding: rbac::RoleBinding => Binding(Arc<role_binding::Binding>);
    ClusterRoleBinding: rbac::ClusterRoleBinding => Binding;
    // Of whatever class.
    Ingress: networking::Ingress => Ingress(Arc<ingress::Ingress>);
    // Whether it names this mesh's controller.
    IngressClass: networking::IngressClass => IngressClass(bool);
    // Whether it names this mesh's controller.
    GatewayClass: gateway_api::gateway_class::GatewayClassSpec => GatewayClass(bool);
    KubernetesGateway: gateway_api::gateway::GatewaySpec => KubernetesGateway(Arc<gateway_api::KubernetesGateway>);
    HttpRoute: gateway_api::http_route::HttpRouteSpec => HttpRoute(Arc<gateway_api::HttpRouteObject>);
    GrpcRoute: gateway_api::grpc_route::GrpcRouteSpec => HttpRoute;
    TlsRoute: gateway_api::tls_route::TlsRouteSpec => L4Route(Arc<gateway_api::L4RouteObject>);
    TcpRoute: gateway_api::tcp_route::TcpRouteSpec => L4Route;
    ReferenceGrant: gateway_api::reference_grant::ReferenceGrantSpec => ReferenceGrant(Arc<gateway_api::ReferenceGrant>);
    // One model service for each host.
    ServiceEntry: service_entry::ServiceEntrySpec => ServiceEntry(Arc<service_entry::ServiceEntry>);
    WorkloadEntry: workload_entry::WorkloadEntrySpec => Machine(Arc<workload_entry::Machine>);
    Gateway: gateway::GatewaySpec => Gateway(Arc<mesh_api::gateway::Gateway>);
    VirtualService: virtual_service::VirtualServiceSpec => VirtualService(Arc<VirtualService>);
    DestinationRule: destination_rule::DestinationRuleSpec => DestinationRule(Arc<DestinationRule>);
    Sidecar: sidecar::SidecarSpec => Sidecar(Arc<mesh_api::sidecar::Sidecar>);
    PeerAuthentication: peer_authentication::PeerAuthenticationSpec => PeerAuthentication(Arc<PeerAuthentication>);
    RequestAuthentication: request_authentication::RequestAuthenticationSpec => RequestAuthentication(Arc<RequestAuthentication>);
    AuthorizationPolicy: authorization_policy::AuthorizationPolicySpec => AuthorizationPolicy(Arc<AuthorizationPolicy>);
    Telemetry: telemetry::TelemetrySpec => Telemetry(Arc<Telemetry>);
}

/// The definitions that a cluster gets: of the kinds that are read, and of those that are only known.
pub fn definitions() -> impl Iterator<Item = &'static Definition> {
    let descriptors = Kind::ALL.iter().map(|kind| kind.descriptor());
    let read = descriptors.filter_map(|descriptor| descriptor.definition.as_ref());
    read.chain(unread::DEFINITIONS)
}

#[cfg(test)]
mod tests;
