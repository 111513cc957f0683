//! `MeshConfig` and `ProxyConfig`, from the ConfigMap `istio`, key `mesh`.
//!
//! Fields that are only reported as not supported are kept as plain JSON.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::sidecar::OutboundTrafficPolicy;
use super::traffic_policy::{H2UpgradePolicy, LocalityLbSetting, TcpKeepalive};
use super::virtual_service::Retry;
use super::{gateway::TlsProtocol, wire};
use crate::decode::jsonpb::{GoDuration, wire_enum};

wire! {
    MeshConfig {
        proxy_listen_port: Option<u32>,
        proxy_inbound_listen_port: Option<u32>,
        proxy_http_port: Option<u32>,
        connect_timeout: Option<GoDuration>,
        hbone_idle_timeout: Option<Json>,
        protocol_detection_timeout: Option<GoDuration>,
        tcp_keepalive: Option<TcpKeepalive>,
        ingress_class: Option<String>,
        ingress_service: Option<String>,
        ingress_controller_mode: Option<String>,
        ingress_selector: Option<String>,
        enable_tracing: Option<bool>,
        access_log_file: Option<String>,
        access_log_format: Option<String>,
        access_log_encoding: Option<AccessLogEncoding>,
        enable_envoy_access_log_service: Option<bool>,
        disable_envoy_listener_log: Option<bool>,
        default_config: Option<ProxyConfig>,
        outbound_traffic_policy: Option<OutboundTrafficPolicy>,
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
        locality_lb_setting: Option<LocalityLbSetting>,
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
        default_http_retry_policy: Option<Retry>,
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

    ProxyConfig {
        discovery_address: Option<String>,
        concurrency: Option<u32>,
        drain_duration: Option<GoDuration>,
        termination_drain_duration: Option<GoDuration>,
        proxy_admin_port: Option<u32>,
        status_port: Option<u32>,
        interception_mode: Option<InterceptionMode>,
        hold_application_until_proxy_starts: Option<bool>,
        gateway_topology: Option<GatewayTopology>,
        proxy_metadata: BTreeMap<String, String>,
        control_plane_auth_policy: Option<Json>,
        config_path: Option<Json>,
        binary_path: Option<Json>,
        service_cluster: Option<Json>,
        stat_name_length: Option<Json>,
        tracing: Option<Json>,
        tracing_service_name: Option<Json>,
        runtime_values: Option<Json>,
        readiness_probe: Option<Json>,
        proxy_stats_matcher: Option<Json>,
        extra_stat_tags: Vec<Json>,
        mesh_id: Option<Json>,
        image: Option<Json>,
        private_key_provider: Option<Json>,
        ca_certificates_pem: Vec<Json>,
        proxy_headers: Option<Json>,
        file_flush_interval: Option<Json>,
        file_flush_min_size_kb: Option<Json>,
        stats_compression: Option<Json>,
        envoy_access_log_service: Option<Json>,
        envoy_metrics_service: Option<Json>,
        statsd_udp_address: Option<Json>,
        custom_config_file: Option<Json>,
        proxy_bootstrap_template_path: Option<Json>,
        connection_settings: Option<Json>,
    }

    GatewayTopology {
        num_trusted_proxies: u32,
        forward_client_cert_details: Option<Json>,
        proxy_protocol: Option<Json>,
    }
}

wire_enum!(
    AccessLogEncoding {
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

wire_enum!(
    InterceptionMode {
        #[default]
        Redirect = "REDIRECT" / 0,
        Tproxy = "TPROXY" / 1,
        None = "NONE" / 2,
    }
);
