//! Mesh-wide settings: the ConfigMap `istio` of the root namespace.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1 as core;
use mesh_api::mesh_config::{
    AccessLogConfig, AccessLogEncoding, InboundPolicy, InterceptionMode, MeshConfig,
    PathNormalization, ProxyConfig,
};
use mesh_api::resource::{Meta, Visibility};
use mesh_api::traffic_policy::tls::TlsVersion;

use super::sidecar::outbound_policy;
use super::traffic_policy::{locality, tcp_keepalive};
use super::virtual_service::retries;
use super::{Context, Fault, Model, Scope, some, visibility};
use crate::crd::gateway::TlsProtocol;
use crate::crd::mesh_config as wire;
use crate::crd::traffic_policy::H2UpgradePolicy;
use crate::decode::decode;
use crate::manifest;
use crate::manifest::path::FieldPath;

/// The ConfigMap's name, unless the control plane has a revision, and its key.
pub(crate) const NAME: &str = "istio";
pub(crate) const KEY: &str = "mesh";

/// The mesh configuration inside of a ConfigMap; nothing in all other ConfigMaps.
pub(crate) fn embedded<'a>(
    map: &'a core::ConfigMap,
    meta: &Meta,
    context: &Context<'_>,
) -> Option<&'a str> {
    let ours =
        meta.name() == context.config_map && *meta.key.namespace == *context.mesh.root_namespace;
    let text = map
        .data
        .as_ref()
        .and_then(|data| data.get(KEY))
        .filter(|_| ours)?;
    Some(text)
}

pub(super) fn normalize(map: &core::ConfigMap, scope: &Scope<'_>) -> Result<Model, Fault> {
    let context = Context {
        mesh: scope.mesh,
        config_map: scope.config_map,
        budget: scope.budget,
    };
    let Some(text) = embedded(map, scope.meta, &context) else {
        return Ok(Model::Nothing);
    };
    let root = FieldPath::ROOT;
    let data = root.field("data");
    let path = data.field(KEY);
    let node = manifest::parse_value(text).map_err(|(_, message)| scope.fault(&path, message))?;
    // Faults have been reported by `validate`, which reads the same text.
    let (config, _) = decode::<wire::MeshConfig>(&node, &path, scope.budget);
    let config = config.ok_or_else(|| scope.fault(&path, "not readable"))?;
    Ok(Model::MeshConfig(Arc::new(mesh_config(
        &config, scope, &path,
    )?)))
}

fn mesh_config(
    wire: &wire::MeshConfig,
    scope: &Scope<'_>,
    path: &FieldPath<'_>,
) -> Result<MeshConfig, Fault> {
    let default = MeshConfig::default();
    let port = |value: Option<u32>, default: u16, field: &str| match value {
        Some(number) => scope.port(number, &path.field(field)),
        None => Ok(default),
    };
    let domain = |text: &String, field: &str| {
        text.parse()
            .map_err(|error| scope.fault(&path.field(field), error))
    };
    let export_to = |values: &[String]| visibility(values, ".").unwrap_or(Visibility::Public);
    let aliases = wire.trust_domain_aliases.iter();
    Ok(MeshConfig {
        proxy_listen_port: port(wire.proxy_listen_port, 15001, "proxyListenPort")?,
        proxy_inbound_listen_port: port(
            wire.proxy_inbound_listen_port,
            15006,
            "proxyInboundListenPort",
        )?,
        connect_timeout: wire
            .connect_timeout
            .map_or(default.connect_timeout, |t| t.0),
        tcp_keepalive: wire.tcp_keepalive.as_ref().map(tcp_keepalive),
        protocol_detection_timeout: wire
            .protocol_detection_timeout
            .map(|timeout| timeout.0)
            .filter(|timeout| *timeout > Duration::ZERO),
        trust_domain: match &wire.trust_domain {
            Some(text) => domain(text, "trustDomain")?,
            None => scope.mesh.trust_domain.clone(),
        },
        trust_domain_aliases: aliases
            .map(|text| domain(text, "trustDomainAliases"))
            .collect::<Result<_, _>>()?,
        root_namespace: wire
            .root_namespace
            .as_deref()
            .and_then(some)
            .unwrap_or_else(|| scope.mesh.root_namespace.clone()),
        cluster_domain: scope.mesh.cluster_domain.clone(),
        outbound_policy: wire
            .outbound_traffic_policy
            .as_ref()
            .map_or(default.outbound_policy, |policy| {
                outbound_policy(policy.mode)
            }),
        inbound_policy: match wire
            .inbound_traffic_policy
            .as_ref()
            .map(|policy| policy.mode)
        {
            Some(wire::InboundMode::Localhost) => InboundPolicy::Localhost,
            _ => InboundPolicy::Passthrough,
        },
        enable_auto_mtls: wire.enable_auto_mtls.unwrap_or(default.enable_auto_mtls),
        access_log: access_log(wire),
        default_service_export_to: export_to(&wire.default_service_export_to),
        default_virtual_service_export_to: export_to(&wire.default_virtual_service_export_to),
        default_destination_rule_export_to: export_to(&wire.default_destination_rule_export_to),
        path_normalization: path_normalization(wire),
        default_http_retry: wire
            .default_http_retry_policy
            .as_ref()
            .map_or(default.default_http_retry, retries),
        h2_upgrade: wire.h2_upgrade_policy == Some(H2UpgradePolicy::Upgrade),
        locality_lb: match &wire.locality_lb_setting {
            Some(setting) if setting.enabled == Some(false) => None,
            Some(setting) => Some(locality(setting)),
            None => default.locality_lb,
        },
        dns_refresh_rate: wire
            .dns_refresh_rate
            .map_or(default.dns_refresh_rate, |rate| rate.0),
        mesh_mtls_min_version: match wire.mesh_mtls.as_ref().map(|tls| tls.min_protocol_version) {
            Some(TlsProtocol::V1_3) => TlsVersion::V1_3,
            _ => TlsVersion::V1_2,
        },
        enable_prometheus_merge: wire
            .enable_prometheus_merge
            .unwrap_or(default.enable_prometheus_merge),
        default_config: match &wire.default_config {
            Some(config) => proxy_config(config, scope, &path.field("defaultConfig"))?,
            None => default.default_config,
        },
    })
}

fn access_log(wire: &wire::MeshConfig) -> AccessLogConfig {
    AccessLogConfig {
        file: wire.access_log_file.as_deref().and_then(some),
        format: wire.access_log_format.as_deref().and_then(some),
        encoding: match wire.access_log_encoding {
            Some(wire::AccessLogEncoding::Json) => AccessLogEncoding::Json,
            _ => AccessLogEncoding::Text,
        },
    }
}

fn path_normalization(wire: &wire::MeshConfig) -> PathNormalization {
    use wire::Normalization;
    match wire
        .path_normalization
        .as_ref()
        .map(|setting| setting.normalization)
    {
        Some(Normalization::None) => PathNormalization::None,
        Some(Normalization::MergeSlashes) => PathNormalization::MergeSlashes,
        Some(Normalization::DecodeAndMergeSlashes) => PathNormalization::DecodeAndMergeSlashes,
        Some(Normalization::Base | Normalization::Default) | None => PathNormalization::Base,
    }
}

fn proxy_config(
    wire: &wire::ProxyConfig,
    scope: &Scope<'_>,
    path: &FieldPath<'_>,
) -> Result<ProxyConfig, Fault> {
    let default = ProxyConfig::default();
    let port = |value: Option<u32>, default: u16, field: &str| match value {
        Some(number) => scope.port(number, &path.field(field)),
        None => Ok(default),
    };
    let metadata = wire.proxy_metadata.iter();
    Ok(ProxyConfig {
        discovery_address: wire
            .discovery_address
            .as_deref()
            .and_then(some)
            .unwrap_or(default.discovery_address),
        concurrency: wire.concurrency.unwrap_or(default.concurrency),
        drain_duration: wire.drain_duration.map_or(default.drain_duration, |d| d.0),
        termination_drain_duration: wire
            .termination_drain_duration
            .map_or(default.termination_drain_duration, |d| d.0),
        admin_port: port(wire.proxy_admin_port, default.admin_port, "proxyAdminPort")?,
        status_port: port(wire.status_port, default.status_port, "statusPort")?,
        interception_mode: match wire.interception_mode {
            Some(wire::InterceptionMode::Tproxy) => InterceptionMode::Tproxy,
            Some(wire::InterceptionMode::None) => InterceptionMode::None,
            Some(wire::InterceptionMode::Redirect) | None => InterceptionMode::Redirect,
        },
        hold_application_until_proxy_starts: wire
            .hold_application_until_proxy_starts
            .unwrap_or(default.hold_application_until_proxy_starts),
        num_trusted_proxies: wire
            .gateway_topology
            .as_ref()
            .map_or(default.num_trusted_proxies, |topology| {
                topology.num_trusted_proxies
            }),
        proxy_metadata: metadata
            .map(|(key, value)| (key.as_str().into(), value.as_str().into()))
            .collect(),
    })
}
