//! The kinds, in the order of their groups.

use super::{Column, Definition, schema};
use crate::crd::{
    authorization_policy::AuthorizationPolicy, destination_rule::DestinationRule, gateway::Gateway,
    peer_authentication::PeerAuthentication, request_authentication::RequestAuthentication,
    service_entry::ServiceEntry, service_entry::WorkloadEntry, sidecar::Sidecar,
    telemetry::Telemetry, virtual_service::VirtualService,
};

const NETWORKING: &str = "networking.istio.io";
const SECURITY: &str = "security.istio.io";
const TELEMETRY: &str = "telemetry.istio.io";
const EXTENSIONS: &str = "extensions.istio.io";

const NETWORKING_VERSIONS: &[&str] = &["v1", "v1beta1", "v1alpha3"];
const SECURITY_VERSIONS: &[&str] = &["v1", "v1beta1"];

const AGE: Column = Column {
    name: "Age",
    path: ".metadata.creationTimestamp",
    kind: "date",
    description: "When the object was created",
};

const fn text(name: &'static str, path: &'static str, description: &'static str) -> Column {
    Column {
        name,
        path,
        kind: "string",
        description,
    }
}

/// A kind with nothing special about it.
const PLAIN: Definition = Definition {
    group: NETWORKING,
    kind: "",
    plural: "",
    short_names: &[],
    versions: NETWORKING_VERSIONS,
    columns: &[AGE],
    spec: None,
    spec_required: false,
};

/// All kinds that a cluster gets.
pub const DEFINITIONS: &[Definition] = &[
    Definition {
        kind: "DestinationRule",
        plural: "destinationrules",
        short_names: &["dr"],
        columns: &[
            text("Host", ".spec.host", "The service that the rule is for"),
            AGE,
        ],
        spec: Some(schema::of::<DestinationRule>),
        ..PLAIN
    },
    Definition {
        kind: "EnvoyFilter",
        plural: "envoyfilters",
        versions: &["v1alpha3"],
        ..PLAIN
    },
    Definition {
        kind: "Gateway",
        plural: "gateways",
        short_names: &["gw"],
        spec: Some(schema::of::<Gateway>),
        ..PLAIN
    },
    Definition {
        kind: "ProxyConfig",
        plural: "proxyconfigs",
        versions: &["v1beta1"],
        ..PLAIN
    },
    Definition {
        kind: "ServiceEntry",
        plural: "serviceentries",
        short_names: &["se"],
        columns: &[
            text("Hosts", ".spec.hosts", "The service's names"),
            text(
                "Location",
                ".spec.location",
                "Whether the service is inside or outside of the mesh",
            ),
            text(
                "Resolution",
                ".spec.resolution",
                "How the addresses of the service are found",
            ),
            AGE,
        ],
        spec: Some(schema::of::<ServiceEntry>),
        spec_required: true,
        ..PLAIN
    },
    Definition {
        kind: "Sidecar",
        plural: "sidecars",
        spec: Some(schema::of::<Sidecar>),
        ..PLAIN
    },
    Definition {
        kind: "VirtualService",
        plural: "virtualservices",
        short_names: &["vs"],
        columns: &[
            text(
                "Gateways",
                ".spec.gateways",
                "The gateways and sidecars that apply the routes",
            ),
            text("Hosts", ".spec.hosts", "The names that the routes are for"),
            AGE,
        ],
        spec: Some(schema::of::<VirtualService>),
        ..PLAIN
    },
    Definition {
        kind: "WorkloadEntry",
        plural: "workloadentries",
        short_names: &["we"],
        columns: &[
            AGE,
            text("Address", ".spec.address", "The workload's address"),
        ],
        spec: Some(schema::of::<WorkloadEntry>),
        spec_required: true,
        ..PLAIN
    },
    Definition {
        kind: "WorkloadGroup",
        plural: "workloadgroups",
        short_names: &["wg"],
        spec_required: true,
        ..PLAIN
    },
    Definition {
        group: SECURITY,
        kind: "AuthorizationPolicy",
        plural: "authorizationpolicies",
        short_names: &["ap"],
        versions: SECURITY_VERSIONS,
        columns: &[
            text("Action", ".spec.action", "What is done with a request"),
            AGE,
        ],
        spec: Some(schema::of::<AuthorizationPolicy>),
        ..PLAIN
    },
    Definition {
        group: SECURITY,
        kind: "PeerAuthentication",
        plural: "peerauthentications",
        short_names: &["pa"],
        versions: SECURITY_VERSIONS,
        columns: &[
            text("Mode", ".spec.mtls.mode", "Whether mutual TLS is required"),
            AGE,
        ],
        spec: Some(schema::of::<PeerAuthentication>),
        ..PLAIN
    },
    Definition {
        group: SECURITY,
        kind: "RequestAuthentication",
        plural: "requestauthentications",
        short_names: &["ra"],
        versions: SECURITY_VERSIONS,
        spec: Some(schema::of::<RequestAuthentication>),
        ..PLAIN
    },
    Definition {
        group: TELEMETRY,
        kind: "Telemetry",
        plural: "telemetries",
        short_names: &["telemetry"],
        // Istio stores this one by its old version.
        versions: &["v1alpha1", "v1"],
        spec: Some(schema::of::<Telemetry>),
        ..PLAIN
    },
    Definition {
        group: EXTENSIONS,
        kind: "TrafficExtension",
        plural: "trafficextensions",
        versions: &["v1alpha1"],
        spec_required: true,
        ..PLAIN
    },
    Definition {
        group: EXTENSIONS,
        kind: "WasmPlugin",
        plural: "wasmplugins",
        versions: &["v1alpha1"],
        spec_required: true,
        ..PLAIN
    },
];
