//! From `MeshConfig` as written to the settings in force.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use mesh_api::mesh_config::{
    InboundPolicy, MeshConfig, OutboundPolicy, PathNormalization, ProxyConfig,
};
use mesh_api::resource::Visibility;
use mesh_api::traffic_policy::load_balancer::LocalityLbSetting;
use mesh_api::traffic_policy::tls::TlsVersion;

use super::fields::{port, report_unsupported};
use super::unsupported::without_effect;
use super::wire::{InboundMode, Normalization, WireMesh};
use super::{access_log, proxy};
use crate::kinds::findings::Findings;
use crate::kinds::gateway::TlsProtocol;
use crate::kinds::rules::{self, each, some};
use crate::kinds::scope::{Scope, visibility};
use crate::kinds::sidecar::{WireOutbound, outbound_mode};
use crate::kinds::traffic_policy::{H2UpgradePolicy, WireLocality, locality, tcp_keepalive};
use crate::kinds::virtual_service::retries;
use crate::manifest::path::FieldPath;

pub(super) fn read(
    wire: &WireMesh,
    scope: &Scope<'_>,
    findings: &mut Findings<'_>,
) -> Option<MeshConfig> {
    let default = MeshConfig::default();
    let root = FieldPath::ROOT;
    report_unsupported(&without_effect(wire), &root, findings);
    let proxy_path = root.field("defaultConfig");
    if let Some(config) = &wire.default_config {
        proxy::check(config, &proxy_path, findings);
    }
    let connecting = root.field("connectTimeout");
    rules::duration(wire.connect_timeout, &connecting, findings);
    rules::duration(
        wire.dns_refresh_rate,
        &root.field("dnsRefreshRate"),
        findings,
    );
    let access_log = access_log::read(wire, &root, findings);
    let retry = wire.default_http_retry_policy.as_ref();
    let retry = retry.map(|wire| retries(wire, &root.field("defaultHttpRetryPolicy"), findings));
    let setting = wire.locality_lb_setting.as_ref();
    let setting = setting.map(|wire| locality_lb(wire, &root, findings));
    let keepalive = wire.tcp_keepalive.as_ref();
    let keepalive =
        keepalive.map(|wire| tcp_keepalive(wire, &root.field("tcpKeepalive"), findings));
    let outbound = wire.outbound_traffic_policy.as_ref();
    let outbound =
        outbound.map(|wire| outbound_policy(wire, &root.field("outboundTrafficPolicy"), findings));
    let listen = root.field("proxyListenPort");
    let listen = port(wire.proxy_listen_port, 15001, &listen, findings);
    let inbound = root.field("proxyInboundListenPort");
    let inbound = port(wire.proxy_inbound_listen_port, 15006, &inbound, findings);
    let trust_domain = match &wire.trust_domain {
        Some(text) => domain(text, &root.field("trustDomain"), findings),
        None => Some(scope.mesh.trust_domain.clone()),
    };
    let aliases_path = root.field("trustDomainAliases");
    let aliases = &wire.trust_domain_aliases;
    let aliases = each(aliases, &aliases_path, findings, |text, _, findings| {
        domain(text, &aliases_path, findings)
    });
    let default_config = match &wire.default_config {
        Some(config) => proxy::read(config, &proxy_path, findings),
        None => Some(ProxyConfig::default()),
    };
    Some(MeshConfig {
        proxy_listen_port: listen?,
        proxy_inbound_listen_port: inbound?,
        connect_timeout: wire
            .connect_timeout
            .map_or(default.connect_timeout, |timeout| timeout.0),
        tcp_keepalive: keepalive,
        protocol_detection_timeout: wire
            .protocol_detection_timeout
            .map(|timeout| timeout.0)
            .filter(|timeout| *timeout > Duration::ZERO),
        trust_domain: trust_domain?,
        trust_domain_aliases: aliases?.into_iter().collect(),
        root_namespace: wire
            .root_namespace
            .as_deref()
            .and_then(some)
            .unwrap_or_else(|| scope.mesh.root_namespace.clone()),
        cluster_domain: scope.mesh.cluster_domain.clone(),
        outbound_policy: outbound.unwrap_or(default.outbound_policy),
        inbound_policy: inbound_policy(wire),
        enable_auto_mtls: wire.enable_auto_mtls.unwrap_or(default.enable_auto_mtls),
        access_log,
        default_service_export_to: export_to(&wire.default_service_export_to),
        default_virtual_service_export_to: export_to(&wire.default_virtual_service_export_to),
        default_destination_rule_export_to: export_to(&wire.default_destination_rule_export_to),
        path_normalization: path_normalization(wire),
        default_http_retry: retry.unwrap_or(default.default_http_retry),
        h2_upgrade: wire.h2_upgrade_policy == Some(H2UpgradePolicy::Upgrade),
        locality_lb: setting.unwrap_or(default.locality_lb),
        dns_refresh_rate: wire
            .dns_refresh_rate
            .map_or(default.dns_refresh_rate, |rate| rate.0),
        mesh_mtls_min_version: mtls_min_version(wire),
        enable_prometheus_merge: wire
            .enable_prometheus_merge
            .unwrap_or(default.enable_prometheus_merge),
        default_config: default_config?,
    })
}

fn domain<T: FromStr<Err: Display>>(
    text: &str,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<T> {
    match text.parse() {
        Ok(domain) => Some(domain),
        Err(error) => {
            findings.error(path, format!("{error}"));
            None
        }
    }
}

/// Nothing where the setting is switched off.
fn locality_lb(
    wire: &WireLocality,
    root: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<LocalityLbSetting> {
    let setting = locality(wire, &root.field("localityLbSetting"), findings);
    Some(setting).filter(|setting| setting.enabled)
}

fn outbound_policy(
    wire: &WireOutbound,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> OutboundPolicy {
    let policy = outbound_mode(wire.mode, &path.field("mode"), findings);
    let ignored = [
        ("egressProxy", wire.egress_proxy.is_some()),
        ("tls", wire.tls.is_some()),
    ];
    report_unsupported(&ignored, path, findings);
    policy
}

fn inbound_policy(wire: &WireMesh) -> InboundPolicy {
    let policy = wire.inbound_traffic_policy.as_ref();
    match policy.map(|policy| policy.mode) {
        Some(InboundMode::Localhost) => InboundPolicy::Localhost,
        Some(InboundMode::Passthrough) | None => InboundPolicy::Passthrough,
    }
}

/// `.` stays: what it means depends on the object that the default is for.
fn export_to(values: &[String]) -> Visibility {
    visibility(values, ".").unwrap_or(Visibility::Public)
}

fn path_normalization(wire: &WireMesh) -> PathNormalization {
    let setting = wire.path_normalization.as_ref();
    match setting.map(|setting| setting.normalization) {
        Some(Normalization::None) => PathNormalization::None,
        Some(Normalization::MergeSlashes) => PathNormalization::MergeSlashes,
        Some(Normalization::DecodeAndMergeSlashes) => PathNormalization::DecodeAndMergeSlashes,
        Some(Normalization::Base | Normalization::Default) | None => PathNormalization::Base,
    }
}

fn mtls_min_version(wire: &WireMesh) -> TlsVersion {
    match wire.mesh_mtls.as_ref().map(|tls| tls.min_protocol_version) {
        Some(TlsProtocol::V1_3) => TlsVersion::V1_3,
        _ => TlsVersion::V1_2,
    }
}
