//! `Sidecar`, networking.istio.io.

use super::traffic_policy::ConnectionPool;
use super::virtual_service::Destination;
use super::{Port, WorkloadSelector, wire};
use crate::decode::jsonpb::wire_enum;

wire! {
    Sidecar {
        /// The pods that this is for; all of the namespace without it
        workload_selector: Option<WorkloadSelector>,
        /// What the proxy listens for
        ingress: Vec<Ingress>,
        /// What the application can reach
        egress: Vec<Egress>,
        inbound_connection_pool: Option<ConnectionPool>,
        /// What becomes of unknown destinations
        outbound_traffic_policy: Option<OutboundTrafficPolicy>,
    }

    #[schemars(extend("required" = ["port"]))]
    Ingress {
        /// Where it listens
        port: Option<Port>,
        bind: String,
        capture_mode: CaptureMode,
        /// Where the application listens
        default_endpoint: String,
        tls: Option<serde_json::Value>,
        connection_pool: Option<ConnectionPool>,
    }

    #[schemars(extend("required" = ["hosts"]))]
    Egress {
        /// Only this port
        port: Option<Port>,
        bind: String,
        capture_mode: CaptureMode,
        /// What is reached, as NAMESPACE/HOST
        hosts: Vec<String>,
    }

    // Also `meshConfig.outboundTrafficPolicy`.
    OutboundTrafficPolicy {
        /// Whether unknown destinations can be reached
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
