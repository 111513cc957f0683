//! `defaultConfig`: what proxies start with.

use std::collections::BTreeMap;

use mesh_api::mesh_config::{InterceptionMode, ProxyConfig};
use serde_json::Value as Json;

use super::fields::{port, report_unsupported};
use crate::decode::jsonpb::{GoDuration, wire_enum};
use crate::kinds::findings::Findings;
use crate::kinds::rules::some;
use crate::kinds::wire::wire;
use crate::manifest::path::FieldPath;

wire! {
    WireProxy {
        discovery_address: Option<String>,
        concurrency: Option<u32>,
        drain_duration: Option<GoDuration>,
        termination_drain_duration: Option<GoDuration>,
        proxy_admin_port: Option<u32>,
        status_port: Option<u32>,
        interception_mode: Option<WireInterception>,
        hold_application_until_proxy_starts: Option<bool>,
        gateway_topology: Option<WireTopology>,
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

    WireTopology {
        num_trusted_proxies: u32,
        forward_client_cert_details: Option<Json>,
        proxy_protocol: Option<Json>,
    }
}

wire_enum!(
    WireInterception {
        #[default]
        Redirect = "REDIRECT" / 0,
        Tproxy = "TPROXY" / 1,
        None = "NONE" / 2,
    }
);

pub(super) fn read(
    wire: &WireProxy,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<ProxyConfig> {
    let default = ProxyConfig::default();
    let admin = path.field("proxyAdminPort");
    let admin_port = port(wire.proxy_admin_port, default.admin_port, &admin, findings);
    let status = path.field("statusPort");
    let status_port = port(wire.status_port, default.status_port, &status, findings);
    let address = wire.discovery_address.as_deref().and_then(some);
    let topology = wire.gateway_topology.as_ref();
    let metadata = wire.proxy_metadata.iter();
    Some(ProxyConfig {
        discovery_address: address.unwrap_or(default.discovery_address),
        concurrency: wire.concurrency.unwrap_or(default.concurrency),
        drain_duration: wire.drain_duration.map_or(default.drain_duration, |d| d.0),
        termination_drain_duration: wire
            .termination_drain_duration
            .map_or(default.termination_drain_duration, |d| d.0),
        admin_port: admin_port?,
        status_port: status_port?,
        interception_mode: match wire.interception_mode {
            Some(WireInterception::Tproxy) => InterceptionMode::Tproxy,
            Some(WireInterception::None) => InterceptionMode::None,
            Some(WireInterception::Redirect) | None => InterceptionMode::Redirect,
        },
        hold_application_until_proxy_starts: wire
            .hold_application_until_proxy_starts
            .unwrap_or(default.hold_application_until_proxy_starts),
        num_trusted_proxies: topology.map_or(default.num_trusted_proxies, |topology| {
            topology.num_trusted_proxies
        }),
        proxy_metadata: metadata
            .map(|(key, value)| (key.as_str().into(), value.as_str().into()))
            .collect(),
    })
}

/// Reports fields that have no effect.
pub(super) fn check(wire: &WireProxy, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    report_unsupported(&without_effect(wire), path, findings);
}

/// Fields of `defaultConfig` that have no effect, and whether they are set.
fn without_effect(config: &WireProxy) -> Vec<(&'static str, bool)> {
    let topology = config.gateway_topology.as_ref();
    vec![
        (
            "controlPlaneAuthPolicy",
            config.control_plane_auth_policy.is_some(),
        ),
        ("configPath", config.config_path.is_some()),
        ("binaryPath", config.binary_path.is_some()),
        ("serviceCluster", config.service_cluster.is_some()),
        ("statNameLength", config.stat_name_length.is_some()),
        ("tracing", config.tracing.is_some()),
        ("tracingServiceName", config.tracing_service_name.is_some()),
        ("runtimeValues", config.runtime_values.is_some()),
        ("readinessProbe", config.readiness_probe.is_some()),
        ("proxyStatsMatcher", config.proxy_stats_matcher.is_some()),
        ("extraStatTags", !config.extra_stat_tags.is_empty()),
        ("meshId", config.mesh_id.is_some()),
        ("image", config.image.is_some()),
        ("privateKeyProvider", config.private_key_provider.is_some()),
        ("caCertificatesPem", !config.ca_certificates_pem.is_empty()),
        ("proxyHeaders", config.proxy_headers.is_some()),
        ("fileFlushInterval", config.file_flush_interval.is_some()),
        (
            "fileFlushMinSizeKb",
            config.file_flush_min_size_kb.is_some(),
        ),
        ("statsCompression", config.stats_compression.is_some()),
        (
            "envoyAccessLogService",
            config.envoy_access_log_service.is_some(),
        ),
        (
            "envoyMetricsService",
            config.envoy_metrics_service.is_some(),
        ),
        ("statsdUdpAddress", config.statsd_udp_address.is_some()),
        ("customConfigFile", config.custom_config_file.is_some()),
        (
            "proxyBootstrapTemplatePath",
            config.proxy_bootstrap_template_path.is_some(),
        ),
        ("connectionSettings", config.connection_settings.is_some()),
        (
            "gatewayTopology.forwardClientCertDetails",
            topology.is_some_and(|topology| topology.forward_client_cert_details.is_some()),
        ),
        (
            "gatewayTopology.proxyProtocol",
            topology.is_some_and(|topology| topology.proxy_protocol.is_some()),
        ),
    ]
}
