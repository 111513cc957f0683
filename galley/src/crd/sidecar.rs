//! `Sidecar`, networking.istio.io.

use super::traffic_policy::ConnectionPool;
use super::virtual_service::Destination;
use super::{Port, WorkloadSelector, wire};
use crate::decode::jsonpb::wire_enum;

wire! {
    Sidecar {
        workload_selector: Option<WorkloadSelector>,
        ingress: Vec<Ingress>,
        egress: Vec<Egress>,
        inbound_connection_pool: Option<ConnectionPool>,
        outbound_traffic_policy: Option<OutboundTrafficPolicy>,
    }

    #[schemars(extend("required" = ["port"]))]
    Ingress {
        port: Option<Port>,
        bind: String,
        capture_mode: CaptureMode,
        default_endpoint: String,
        tls: Option<serde_json::Value>,
        connection_pool: Option<ConnectionPool>,
    }

    #[schemars(extend("required" = ["hosts"]))]
    Egress {
        port: Option<Port>,
        bind: String,
        capture_mode: CaptureMode,
        hosts: Vec<String>,
    }

    // Also `meshConfig.outboundTrafficPolicy`.
    OutboundTrafficPolicy {
        mode: OutboundMode,
        egress_proxy: Option<Destination>,
        tls: Option<serde_json::Value>,
    }
}

wire_enum!(
    CaptureMode {
        #[default]
        Default = "DEFAULT" / 0,
        Iptables = "IPTABLES" / 1,
        None = "NONE" / 2,
    }
);

wire_enum!(
    /// Mode 2 was never used upstream.
    OutboundMode {
        RegistryOnly = "REGISTRY_ONLY" / 0,
        #[default]
        AllowAny = "ALLOW_ANY" / 1,
        AllowAnyDynamicDns = "ALLOW_ANY_DYNAMIC_DNS" / 3,
    }
);
