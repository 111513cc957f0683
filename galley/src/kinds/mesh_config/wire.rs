//! `MeshConfig` as it is written. Its reference is Istio's.
//!
//! Fields that are only reported as not supported are kept as plain JSON.

use serde_json::Value as Json;

use super::proxy::WireProxy;
use crate::decode::jsonpb::{GoDuration, wire_enum};
use crate::kinds::gateway::TlsProtocol;
use crate::kinds::sidecar::WireOutbound;
use crate::kinds::traffic_policy::{H2UpgradePolicy, WireKeepalive, WireLocality};
use crate::kinds::virtual_service::WireRetry;
use crate::kinds::wire::wire;

wire! {
    WireMesh {
        proxy_listen_port: Option<u32>,
        proxy_inbound_listen_port: Option<u32>,
        proxy_http_port: Option<u32>,
        connect_timeout: Option<GoDuration>,
        hbone_idle_timeout: Option<Json>,
        protocol_detection_timeout: Option<GoDuration>,
        tcp_keepalive: Option<WireKeepalive>,
        ingress_class: Option<String>,
        ingress_service: Option<String>,
        ingress_controller_mode: Option<String>,
        ingress_selector: Option<String>,
        enable_tracing: Option<bool>,
        access_log_file: Option<String>,
        access_log_format: Option<String>,
        access_log_encoding: Option<WireEncoding>,
        enable_envoy_access_log_service: Option<bool>,
        disable_envoy_listener_log: Option<bool>,
        default_config: Option<WireProxy>,
        outbound_traffic_policy: Option<WireOutbound>,
        inbound_traffic_policy: Option<InboundTrafficPolicy>,
        config_sources: Vec<Json>,
        enable_auto_mtls: Option<bool>,
        trust_domain: Option<String>,
        trust_domain_aliases: Vec<String>,
        ca_certificates: Vec<Json>,
        default_service_export_to: Vec<String>,
        default_virtual_service_export_to: Vec<String>,
        default_destination_rule_export_to: Vec<String>,
        service_entry_visibility: Option<Json>,
        root_namespace: Option<String>,
        locality_lb_setting: Option<WireLocality>,
        zone_aware_lb_setting: Option<Json>,
        default_traffic_policy: Option<Json>,
        dns_refresh_rate: Option<GoDuration>,
        h2_upgrade_policy: Option<H2UpgradePolicy>,
        inbound_cluster_stat_name: Option<String>,
        outbound_cluster_stat_name: Option<String>,
        service_settings: Vec<Json>,
        service_scope_configs: Vec<Json>,
        enable_prometheus_merge: Option<bool>,
        ca: Option<Json>,
        extension_providers: Vec<Json>,
        default_providers: Option<DefaultProviders>,
        discovery_selectors: Vec<Json>,
        path_normalization: Option<PathNormalization>,
        default_http_retry_policy: Option<WireRetry>,
        default_inbound_http_retry_policy: Option<Json>,
        #[serde(rename = "meshMTLS")]
        mesh_mtls: Option<TlsConfig>,
        tls_defaults: Option<Json>,
        verify_certificate_at_client: Option<bool>,
        certificates: Vec<Json>,
    }

    InboundTrafficPolicy {
        mode: InboundMode,
    }

    DefaultProviders {
        tracing: Vec<String>,
        metrics: Vec<String>,
        access_logging: Vec<String>,
    }

    PathNormalization {
        normalization: Normalization,
    }

    TlsConfig {
        min_protocol_version: TlsProtocol,
        ecdh_curves: Vec<String>,
        cipher_suites: Vec<String>,
    }
}

wire_enum!(
    WireEncoding {
        #[default]
        Text = "TEXT" / 0,
        Json = "JSON" / 1,
    }
);

wire_enum!(
    InboundMode {
        #[default]
        Passthrough = "PASSTHROUGH" / 0,
        Localhost = "LOCALHOST" / 1,
    }
);

wire_enum!(
    Normalization {
        #[default]
        Default = "DEFAULT" / 0,
        None = "NONE" / 1,
        Base = "BASE" / 2,
        MergeSlashes = "MERGE_SLASHES" / 3,
        DecodeAndMergeSlashes = "DECODE_AND_MERGE_SLASHES" / 4,
    }
);
