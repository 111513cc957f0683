//! Which kinds galley knows, and what becomes of each.

/// What is done with objects of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handling {
    /// Decoded, validated and part of the model.
    Model(Kind),
    /// Someone else's business: Deployments, roles, definitions and the like.
    PassedOver,
    /// A kind of the mesh that is not supported yet.
    NotSupported {
        /// Passing over it would leave open what it means to close.
        security: bool,
    },
    /// The group is ours, the version is not served: the served ones.
    UnknownVersion(&'static [&'static str]),
    /// The group is ours, the kind does not exist; perhaps another was meant.
    UnknownKind(Option<&'static str>),
}

/// The kinds behind the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Kubernetes.
    ConfigMap,
    /// Kubernetes.
    Namespace,
    /// Kubernetes.
    Node,
    /// Kubernetes.
    Secret,
    /// Kubernetes.
    ServiceAccount,
    /// Kubernetes.
    Pod,
    /// Kubernetes.
    Service,
    /// Kubernetes.
    EndpointSlice,
    /// rbac.authorization.k8s.io.
    Role,
    /// rbac.authorization.k8s.io.
    ClusterRole,
    /// rbac.authorization.k8s.io.
    RoleBinding,
    /// rbac.authorization.k8s.io.
    ClusterRoleBinding,
    /// networking.k8s.io.
    Ingress,
    /// networking.k8s.io.
    IngressClass,
    /// gateway.networking.k8s.io.
    GatewayClass,
    /// gateway.networking.k8s.io: `Gateway`.
    KubernetesGateway,
    /// gateway.networking.k8s.io: `HTTPRoute`.
    HttpRoute,
    /// gateway.networking.k8s.io: `GRPCRoute`.
    GrpcRoute,
    /// gateway.networking.k8s.io: `TLSRoute`.
    TlsRoute,
    /// gateway.networking.k8s.io: `TCPRoute`.
    TcpRoute,
    /// gateway.networking.k8s.io.
    ReferenceGrant,
    /// networking.istio.io.
    ServiceEntry,
    /// networking.istio.io.
    WorkloadEntry,
    /// networking.istio.io.
    Gateway,
    /// networking.istio.io.
    VirtualService,
    /// networking.istio.io.
    DestinationRule,
    /// networking.istio.io.
    Sidecar,
    /// security.istio.io.
    PeerAuthentication,
    /// security.istio.io.
    RequestAuthentication,
    /// security.istio.io.
    AuthorizationPolicy,
    /// telemetry.istio.io.
    Telemetry,
}

const NETWORKING: &[&str] = &["v1", "v1beta1", "v1alpha3"];
const SECURITY: &[&str] = &["v1", "v1beta1"];
const TELEMETRY: &[&str] = &["v1", "v1alpha1"];
const V1: &[&str] = &["v1"];
const GATEWAY_API: &[&str] = &["v1", "v1beta1"];
const GRPC_ROUTE: &[&str] = &["v1", "v1alpha2"];
const TLS_ROUTE: &[&str] = &["v1", "v1alpha3", "v1alpha2"];
const TCP_ROUTE: &[&str] = &["v1", "v1alpha2"];

/// Group, kind, versions, and the kind in the model.
type Row = (&'static str, &'static str, &'static [&'static str], Kind);

const MODEL: &[Row] = &[
    ("", "ConfigMap", V1, Kind::ConfigMap),
    ("", "Namespace", V1, Kind::Namespace),
    ("", "Node", V1, Kind::Node),
    ("", "Secret", V1, Kind::Secret),
    ("", "ServiceAccount", V1, Kind::ServiceAccount),
    ("", "Pod", V1, Kind::Pod),
    ("", "Service", V1, Kind::Service),
    ("discovery.k8s.io", "EndpointSlice", V1, Kind::EndpointSlice),
    ("rbac.authorization.k8s.io", "Role", V1, Kind::Role),
    (
        "rbac.authorization.k8s.io",
        "ClusterRole",
        V1,
        Kind::ClusterRole,
    ),
    (
        "rbac.authorization.k8s.io",
        "RoleBinding",
        V1,
        Kind::RoleBinding,
    ),
    (
        "rbac.authorization.k8s.io",
        "ClusterRoleBinding",
        V1,
        Kind::ClusterRoleBinding,
    ),
    ("networking.k8s.io", "Ingress", V1, Kind::Ingress),
    ("networking.k8s.io", "IngressClass", V1, Kind::IngressClass),
    (
        "gateway.networking.k8s.io",
        "GatewayClass",
        GATEWAY_API,
        Kind::GatewayClass,
    ),
    (
        "gateway.networking.k8s.io",
        "Gateway",
        GATEWAY_API,
        Kind::KubernetesGateway,
    ),
    (
        "gateway.networking.k8s.io",
        "HTTPRoute",
        GATEWAY_API,
        Kind::HttpRoute,
    ),
    (
        "gateway.networking.k8s.io",
        "GRPCRoute",
        GRPC_ROUTE,
        Kind::GrpcRoute,
    ),
    (
        "gateway.networking.k8s.io",
        "TLSRoute",
        TLS_ROUTE,
        Kind::TlsRoute,
    ),
    (
        "gateway.networking.k8s.io",
        "TCPRoute",
        TCP_ROUTE,
        Kind::TcpRoute,
    ),
    (
        "gateway.networking.k8s.io",
        "ReferenceGrant",
        GATEWAY_API,
        Kind::ReferenceGrant,
    ),
    (
        "networking.istio.io",
        "ServiceEntry",
        NETWORKING,
        Kind::ServiceEntry,
    ),
    (
        "networking.istio.io",
        "WorkloadEntry",
        NETWORKING,
        Kind::WorkloadEntry,
    ),
    ("networking.istio.io", "Gateway", NETWORKING, Kind::Gateway),
    (
        "networking.istio.io",
        "VirtualService",
        NETWORKING,
        Kind::VirtualService,
    ),
    (
        "networking.istio.io",
        "DestinationRule",
        NETWORKING,
        Kind::DestinationRule,
    ),
    ("networking.istio.io", "Sidecar", NETWORKING, Kind::Sidecar),
    (
        "security.istio.io",
        "PeerAuthentication",
        SECURITY,
        Kind::PeerAuthentication,
    ),
    (
        "security.istio.io",
        "RequestAuthentication",
        SECURITY,
        Kind::RequestAuthentication,
    ),
    (
        "security.istio.io",
        "AuthorizationPolicy",
        SECURITY,
        Kind::AuthorizationPolicy,
    ),
    (
        "telemetry.istio.io",
        "Telemetry",
        TELEMETRY,
        Kind::Telemetry,
    ),
];

/// Groups and kinds of the mesh without support yet; an empty kind is the whole group.
const NOT_SUPPORTED: &[(&str, &str)] = &[
    ("networking.istio.io", "EnvoyFilter"),
    ("networking.istio.io", "WorkloadGroup"),
    ("networking.istio.io", "ProxyConfig"),
    ("extensions.istio.io", ""),
    ("authentication.istio.io", ""),
    ("rbac.istio.io", ""),
    ("config.istio.io", ""),
    ("gateway.networking.k8s.io", ""),
    ("gateway.networking.x-k8s.io", ""),
];

/// Groups whose kinds restrict access.
const SECURITY_GROUPS: [&str; 2] = ["authentication.istio.io", "rbac.istio.io"];

/// Looks a kind up.
pub fn handling(api_version: &str, kind: &str) -> Handling {
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    if let Some((_, _, versions, model)) = MODEL.iter().find(|row| (row.0, row.1) == (group, kind))
    {
        return match versions.contains(&version) {
            true => Handling::Model(*model),
            false => Handling::UnknownVersion(versions),
        };
    }
    let unsupported = NOT_SUPPORTED
        .iter()
        .find(|row| row.0 == group && (row.1.is_empty() || row.1 == kind));
    if unsupported.is_some() {
        return Handling::NotSupported {
            security: SECURITY_GROUPS.contains(&group),
        };
    }
    if group.ends_with(".istio.io") {
        let kinds = MODEL.iter().filter(|row| row.0 == group).map(|row| row.1);
        return Handling::UnknownKind(crate::decode::suggest::nearest(kind, kinds));
    }
    Handling::PassedOver
}

impl Kind {
    /// The kind's name.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// The API group.
    pub(crate) fn group(self) -> &'static str {
        self.row().0
    }

    /// The versions that are known, the newest first.
    pub(crate) fn versions(self) -> &'static [&'static str] {
        self.row().2
    }

    fn row(self) -> &'static Row {
        let row = MODEL.iter().find(|row| row.3 == self);
        row.expect("every kind has a row")
    }

    /// The kind in names of objects of the model: two groups have a Gateway.
    pub(crate) fn model_name(self) -> &'static str {
        match self {
            Self::KubernetesGateway => "KubernetesGateway",
            other => other.name(),
        }
    }

    /// True if the kind is there only once its definition has been installed.
    pub(crate) fn needs_definition(self) -> bool {
        self.is_istio() || self.is_gateway_api()
    }

    /// True for kinds whose status says what this mesh made of them.
    pub(crate) fn has_status(self) -> bool {
        match self {
            Self::ReferenceGrant => false,
            Self::Ingress => true,
            other => other.needs_definition(),
        }
    }

    /// True for Istio's own kinds.
    pub(crate) fn is_istio(self) -> bool {
        self.group().ends_with(".istio.io")
    }

    /// True for kinds of the Kubernetes Gateway API.
    pub(crate) fn is_gateway_api(self) -> bool {
        self.group() == "gateway.networking.k8s.io"
    }

    /// True for kinds without namespace.
    pub fn is_cluster_wide(self) -> bool {
        matches!(
            self,
            Self::Namespace
                | Self::Node
                | Self::ClusterRole
                | Self::ClusterRoleBinding
                | Self::IngressClass
                | Self::GatewayClass
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_served_versions() {
        for version in ["v1", "v1beta1", "v1alpha3"] {
            let api_version = format!("networking.istio.io/{version}");
            assert_eq!(
                handling(&api_version, "VirtualService"),
                Handling::Model(Kind::VirtualService)
            );
        }
        assert_eq!(handling("v1", "Service"), Handling::Model(Kind::Service));
    }

    #[test]
    fn what_is_not_in_the_model() {
        assert_eq!(handling("apps/v1", "Deployment"), Handling::PassedOver);
        assert_eq!(
            handling("networking.istio.io/v1alpha3", "EnvoyFilter"),
            Handling::NotSupported { security: false }
        );
        assert_eq!(
            handling("gateway.networking.k8s.io/v1", "UDPRoute"),
            Handling::NotSupported { security: false }
        );
        assert_eq!(
            handling("networking.istio.io/v2", "Gateway"),
            Handling::UnknownVersion(NETWORKING)
        );
        assert_eq!(
            handling("networking.istio.io/v1", "VirtualServices"),
            Handling::UnknownKind(Some("VirtualService"))
        );
    }
}
