//! Settings that Istio knows and that have no effect here.

use super::wire::WireMesh;
use crate::kinds::gateway::TlsProtocol;

/// Fields of the mesh configuration that have no effect, and whether they are set.
pub(super) fn without_effect(config: &WireMesh) -> Vec<(&'static str, bool)> {
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
                    TlsProtocol::Auto | TlsProtocol::V1_2 | TlsProtocol::V1_3
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
