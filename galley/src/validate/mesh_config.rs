//! Mesh-wide settings, which are a document inside of a ConfigMap.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as core;
use mesh_api::resource::Meta;

use super::{Findings, operators, rules, traffic_policy, virtual_service};
use crate::crd::gateway::TlsProtocol;
use crate::crd::mesh_config as wire;
use crate::crd::sidecar::OutboundMode;
use crate::decode::decode;
use crate::decode::finding::{Finding, code};
use crate::manifest;
use crate::manifest::node::{Node, Position};
use crate::manifest::path::FieldPath;
use crate::normalize::{Context, MESH_CONFIG_KEY, embedded_mesh_config};
use crate::work::Budget;

pub(super) fn validate(
    map: &core::ConfigMap,
    meta: &Meta,
    context: &Context<'_>,
    findings: &mut Findings<'_>,
) {
    let Some(text) = embedded_mesh_config(map, meta, context) else {
        return;
    };
    let root = FieldPath::ROOT;
    let data = root.field("data");
    let path = data.field(MESH_CONFIG_KEY);
    let place = Place::of(findings.root(), &path, text);
    let node = match manifest::parse_value(text) {
        Ok(node) => node,
        Err((position, message)) => {
            let finding = Finding::error(code::BROKEN_DOCUMENT, path.to_string(), message);
            findings.add(finding.at(place.shift(position)));
            return;
        }
    };
    let (config, faults) = decode::<wire::MeshConfig>(&node, &path, context.budget);
    let mut found = faults;
    if let Some(config) = config {
        found.extend(rules_of(&config, &node, &path, context.budget));
    }
    for finding in found {
        let position = place.shift(finding.position);
        findings.add(finding.at(position));
    }
}

/// Where the embedded text begins in its file.
struct Place {
    line: u32,
    column: u32,
    block: bool,
}

impl Place {
    fn of(root: &Node, path: &FieldPath<'_>, text: &str) -> Self {
        let position = path.position_in(root);
        Self {
            line: position.line,
            column: position.column,
            block: text.contains('\n'),
        }
    }

    /// The text of a block scalar begins on the line after its key; its indentation
    /// is not known any more, so the column is left at the line's beginning.
    fn shift(&self, inner: Position) -> Position {
        match self.block && self.line > 0 {
            true => Position {
                line: self.line + inner.line,
                column: 1,
            },
            false => Position {
                line: self.line,
                column: self.column,
            },
        }
    }
}

/// The rules look positions up in the embedded tree, whose root is the setting.
fn rules_of(
    config: &wire::MeshConfig,
    node: &Node,
    path: &FieldPath<'_>,
    budget: &Budget,
) -> Vec<Finding> {
    let mut inner = Findings::new(node, budget);
    let root = FieldPath::ROOT;
    unsupported(&mesh_fields(config), &root, &mut inner);
    if let Some(defaults) = &config.default_config {
        unsupported(
            &proxy_fields(defaults),
            &root.field("defaultConfig"),
            &mut inner,
        );
    }
    rules::duration(
        config.connect_timeout,
        &root.field("connectTimeout"),
        &mut inner,
    );
    rules::duration(
        config.dns_refresh_rate,
        &root.field("dnsRefreshRate"),
        &mut inner,
    );
    if let Some(format) = &config.access_log_format {
        let json = config.access_log_encoding == Some(wire::AccessLogEncoding::Json);
        log_format(format, json, &root.field("accessLogFormat"), &mut inner);
    }
    if let Some(retries) = &config.default_http_retry_policy {
        virtual_service::retries(retries, &root.field("defaultHttpRetryPolicy"), &mut inner);
    }
    if let Some(setting) = &config.locality_lb_setting {
        traffic_policy::locality(setting, &root.field("localityLbSetting"), &mut inner);
    }
    if let Some(keepalive) = &config.tcp_keepalive {
        traffic_policy::tcp_keepalive(keepalive, &root.field("tcpKeepalive"), &mut inner);
    }
    if let Some(policy) = &config.outbound_traffic_policy {
        let at = root.field("outboundTrafficPolicy");
        if policy.mode == OutboundMode::AllowAnyDynamicDns {
            let message = "ALLOW_ANY_DYNAMIC_DNS is not supported yet";
            inner.refuse_unsupported(&at.field("mode"), message);
        }
        let ignored = [
            ("egressProxy", policy.egress_proxy.is_some()),
            ("tls", policy.tls.is_some()),
        ];
        unsupported(&ignored, &at, &mut inner);
    }
    let mut found = inner.into_vec();
    for finding in &mut found {
        let dot = if finding.path.is_empty() { "" } else { "." };
        finding.path = format!("{path}{dot}{}", finding.path);
    }
    found
}

/// In JSON, the values of the fields are formats.
fn log_format(text: &str, json: bool, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    let formats = match json && !text.is_empty() {
        false => vec![text.to_owned()],
        true => match serde_json::from_str::<BTreeMap<String, String>>(text) {
            Ok(fields) => fields.into_values().collect(),
            Err(_) => {
                let message = "only a JSON object of strings is supported yet: the default \
                               fields are written";
                findings.without_effect(path, message);
                return;
            }
        },
    };
    for format in formats {
        if let Some(message) = operators::log_fault(&format) {
            findings.refuse_unsupported(path, &message);
        }
    }
}

fn unsupported(fields: &[(&str, bool)], path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    for (field, set) in fields {
        if *set {
            findings.not_supported(&path.field(field));
        }
    }
}

/// Fields of the mesh configuration that have no effect, and whether they are set.
fn mesh_fields(config: &wire::MeshConfig) -> Vec<(&'static str, bool)> {
    let tls = config.mesh_mtls.as_ref();
    vec![
        (
            "proxyHttpPort",
            config.proxy_http_port.is_some_and(|port| port != 0),
        ),
        (
            "proxyListenPort",
            config.proxy_listen_port.is_some_and(|port| port != 15001),
        ),
        (
            "proxyInboundListenPort",
            config
                .proxy_inbound_listen_port
                .is_some_and(|port| port != 15006),
        ),
        ("dnsRefreshRate", config.dns_refresh_rate.is_some()),
        (
            "meshMTLS.minProtocolVersion",
            tls.is_some_and(|tls| {
                !matches!(
                    tls.min_protocol_version,
                    TlsProtocol::Auto | TlsProtocol::V1_2
                )
            }),
        ),
        ("hboneIdleTimeout", config.hbone_idle_timeout.is_some()),
        ("ingressClass", config.ingress_class.is_some()),
        ("ingressService", config.ingress_service.is_some()),
        (
            "ingressControllerMode",
            config.ingress_controller_mode.is_some(),
        ),
        ("ingressSelector", config.ingress_selector.is_some()),
        ("enableTracing", config.enable_tracing == Some(true)),
        (
            "enableEnvoyAccessLogService",
            config.enable_envoy_access_log_service == Some(true),
        ),
        (
            "disableEnvoyListenerLog",
            config.disable_envoy_listener_log.is_some(),
        ),
        ("configSources", !config.config_sources.is_empty()),
        ("caCertificates", !config.ca_certificates.is_empty()),
        (
            "serviceEntryVisibility",
            config.service_entry_visibility.is_some(),
        ),
        ("zoneAwareLbSetting", config.zone_aware_lb_setting.is_some()),
        (
            "defaultTrafficPolicy",
            config.default_traffic_policy.is_some(),
        ),
        (
            "inboundClusterStatName",
            config.inbound_cluster_stat_name.is_some(),
        ),
        (
            "outboundClusterStatName",
            config.outbound_cluster_stat_name.is_some(),
        ),
        ("serviceSettings", !config.service_settings.is_empty()),
        (
            "serviceScopeConfigs",
            !config.service_scope_configs.is_empty(),
        ),
        ("ca", config.ca.is_some()),
        ("extensionProviders", !config.extension_providers.is_empty()),
        ("defaultProviders", config.default_providers.is_some()),
        ("discoverySelectors", !config.discovery_selectors.is_empty()),
        (
            "defaultInboundHttpRetryPolicy",
            config.default_inbound_http_retry_policy.is_some(),
        ),
        (
            "meshMTLS.cipherSuites",
            tls.is_some_and(|tls| !tls.cipher_suites.is_empty()),
        ),
        (
            "meshMTLS.ecdhCurves",
            tls.is_some_and(|tls| !tls.ecdh_curves.is_empty()),
        ),
        ("tlsDefaults", config.tls_defaults.is_some()),
        (
            "verifyCertificateAtClient",
            config.verify_certificate_at_client == Some(false),
        ),
        ("certificates", !config.certificates.is_empty()),
    ]
}

/// Fields of `defaultConfig` that have no effect, and whether they are set.
fn proxy_fields(config: &wire::ProxyConfig) -> Vec<(&'static str, bool)> {
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
