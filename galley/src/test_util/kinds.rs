//! The kinds, each with a small object that is legal and the schema of what can be made large in it.

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1 as networking;
use serde_json::{Value, json};

use super::field::{Field, Filling};
use crate::crd;
use crate::kinds::definition::schema_of;

/// A kind.
#[derive(Debug, Clone)]
pub(super) struct Kind {
    name: &'static str,
    group: &'static str,
    /// The part that the schema describes: the whole object without, or one of its fields.
    part: Option<&'static str>,
    schema: fn() -> Value,
    /// Legal contents of that part. Items that are repeated look like the first one here.
    template: fn() -> Value,
    /// The part is text in YAML.
    embedded: bool,
}

impl Kind {
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    pub(super) fn fields(&self) -> Vec<Field> {
        let mut schema = (self.schema)();
        if let Some(Value::Object(properties)) = schema.get_mut("properties")
            && self.part.is_none()
        {
            for other in ["apiVersion", "kind", "status"] {
                properties.remove(other);
            }
            // Names and labels are the same in all kinds.
            if self.name != "Namespace" {
                properties.remove("metadata");
            }
        }
        let mut fields = Field::of(&schema);
        fields.retain(|field| self.part.is_some() || field.levels() <= KUBERNETES_LEVELS_MAX);
        fields
    }

    /// The object of about `bytes`, never of more.
    pub(super) fn object(&self, field: &Field, filling: Filling, bytes: usize) -> Value {
        let make = |count| self.around(field.filled(&(self.template)(), filling, count));
        let size = |object: &Value| serde_json::to_string(object).map_or(0, |text| text.len());
        // Numbers grow by digits, so the size of the last item is that of the others or more.
        let (one, many) = (size(&make(1)), size(&make(20)));
        let each = (many.saturating_sub(one) / 19 + 6).max(1);
        make(bytes.saturating_sub(one) / each + 1)
    }

    fn around(&self, part: Value) -> Value {
        let version = if self.group.is_empty() {
            "v1".to_owned()
        } else {
            format!("{}/v1", self.group)
        };
        let mut object = json!({
            "apiVersion": version,
            "kind": self.name,
            "metadata": {"name": "istio", "namespace": "istio-system"},
        });
        match (self.part, part) {
            (Some(name), part) if self.embedded => {
                object["data"] = json!({name: serde_json::to_string(&part).unwrap_or_default()});
            }
            (Some(name), part) => object[name] = part,
            (None, Value::Object(fields)) => {
                for (name, value) in fields {
                    match (name.as_str(), value) {
                        ("metadata", Value::Object(more)) => {
                            for (name, value) in more {
                                object["metadata"][&name] = value;
                            }
                        }
                        (_, value) => object[&name] = value,
                    }
                }
            }
            (None, _) => {}
        }
        object
    }
}

/// Pods have a thousand fields that are only read, all alike.
const KUBERNETES_LEVELS_MAX: usize = 4;

const NETWORKING: &str = "networking.istio.io";
const SECURITY: &str = "security.istio.io";
const GATEWAY_API: &str = "gateway.networking.k8s.io";

/// Every kind of the model.
pub(super) fn all() -> Vec<Kind> {
    macro_rules! spec {
        ($group:expr, $name:literal, $type:ty, $template:tt) => {
            Kind {
                name: $name,
                group: $group,
                part: Some("spec"),
                schema: schema_of::<$type>,
                template: || json!($template),
                embedded: false,
            }
        };
    }
    macro_rules! whole {
        ($group:expr, $name:literal, $type:ty, $template:tt) => {
            Kind {
                part: None,
                ..spec!($group, $name, $type, $template)
            }
        };
    }
    use crd::gateway_api as api;
    vec![
        spec!(NETWORKING, "VirtualService", crd::virtual_service::VirtualService, {
            "hosts": ["a.example.com"],
            "http": [{"route": [{"destination": {"host": "a"}}]}],
            "tls": [{"match": [{"sniHosts": ["a.example.com"]}], "route": [{"destination": {"host": "a"}}]}],
            "tcp": [{"route": [{"destination": {"host": "a"}}]}],
        }),
        spec!(NETWORKING, "DestinationRule", crd::destination_rule::DestinationRule, {
            "host": "a",
            "subsets": [{"name": "v1", "labels": {"version": "v1"}}],
        }),
        spec!(NETWORKING, "Gateway", crd::gateway::Gateway, {
            "selector": {"istio": "ingressgateway"},
            "servers": [{"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}],
        }),
        spec!(NETWORKING, "ServiceEntry", crate::kinds::service_entry::ServiceEntrySpec, {
            "hosts": ["a.example.com"],
            "resolution": "STATIC",
            "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}],
            "endpoints": [{"address": "10.0.0.1"}],
        }),
        spec!(NETWORKING, "WorkloadEntry", crate::kinds::workload_entry::WorkloadEntrySpec, {"address": "10.0.0.1"}),
        spec!(NETWORKING, "Sidecar", crd::sidecar::Sidecar, {
            "ingress": [{"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "defaultEndpoint": "127.0.0.1:80"}],
            "egress": [{"hosts": ["*/*"]}],
        }),
        spec!(SECURITY, "PeerAuthentication", crate::kinds::peer_authentication::PeerAuthenticationSpec, {
            "selector": {"matchLabels": {"app": "a"}},
        }),
        spec!(SECURITY, "RequestAuthentication", crate::kinds::request_authentication::RequestAuthenticationSpec, {
            "jwtRules": [{"issuer": "a"}],
        }),
        spec!(SECURITY, "AuthorizationPolicy", crate::kinds::authorization_policy::AuthorizationPolicySpec, {
            "rules": [{"when": [{"key": "source.namespace", "values": ["a"]}]}],
        }),
        spec!(
            "telemetry.istio.io",
            "Telemetry",
            crate::kinds::telemetry::TelemetrySpec,
            {}
        ),
        Kind {
            part: Some("mesh"),
            embedded: true,
            ..spec!("", "ConfigMap", crd::mesh_config::MeshConfig, {})
        },
        spec!(GATEWAY_API, "GatewayClass", api::GatewayClass, {}),
        spec!(GATEWAY_API, "Gateway", api::Gateway, {
            "gatewayClassName": "istio",
            "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}],
        }),
        spec!(GATEWAY_API, "HTTPRoute", api::HttpRoute, {
            "parentRefs": [{"name": "a"}],
            "rules": [{"backendRefs": [{"name": "a", "port": 80}]}],
        }),
        spec!(GATEWAY_API, "GRPCRoute", api::GrpcRoute, {
            "parentRefs": [{"name": "a"}],
            "rules": [{"backendRefs": [{"name": "a", "port": 80}]}],
        }),
        spec!(GATEWAY_API, "TLSRoute", api::TlsRoute, {"rules": [{"backendRefs": [{"name": "a", "port": 80}]}]}),
        spec!(GATEWAY_API, "TCPRoute", api::TcpRoute, {"rules": [{"backendRefs": [{"name": "a", "port": 80}]}]}),
        spec!(GATEWAY_API, "ReferenceGrant", api::ReferenceGrant, {}),
        whole!("networking.k8s.io", "Ingress", networking::Ingress, {
            "spec": {"rules": [{"http": {"paths": [{
                "path": "/", "pathType": "Prefix",
                "backend": {"service": {"name": "a", "port": {"number": 80}}},
            }]}}]},
        }),
        whole!(
            "networking.k8s.io",
            "IngressClass",
            networking::IngressClass,
            {}
        ),
        whole!("discovery.k8s.io", "EndpointSlice", EndpointSlice, {
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["10.0.0.1"]}],
            "ports": [{"name": "http", "port": 80}],
        }),
        whole!("", "Service", core::Service, {"spec": {"ports": [{"port": 80}]}}),
        whole!("", "Secret", core::Secret, {}),
        whole!("", "Namespace", core::Namespace, {}),
        whole!("", "Node", core::Node, {}),
        whole!("", "ServiceAccount", core::ServiceAccount, {}),
        whole!("", "Pod", core::Pod, {"spec": {"containers": [{"name": "a"}]}}),
    ]
}
