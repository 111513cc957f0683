//! Mesh-wide settings (Istio `MeshConfig` and `ProxyConfig`), with Istio's defaults.

use std::sync::Arc;
use std::time::Duration;

use crate::identity::TrustDomain;
use crate::resource::Visibility;
use crate::route::retry::RetryPolicy;
use crate::traffic_policy::connection_pool::TcpKeepalive;
use crate::traffic_policy::load_balancer::LocalityLbSetting;
use crate::traffic_policy::tls::TlsVersion;

/// `MeshConfig`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeshConfig {
    /// Port that captured outbound connections go to.
    pub proxy_listen_port: u16,
    /// Port that captured inbound connections go to.
    pub proxy_inbound_listen_port: u16,
    /// Upstream dial limit.
    pub connect_timeout: Duration,
    /// Keepalive of upstream connections.
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// How long to wait for the first bytes of a sniffed connection; `None` for ever.
    pub protocol_detection_timeout: Option<Duration>,
    /// Identity.
    pub trust_domain: TrustDomain,
    /// Other names of the trust domain.
    pub trust_domain_aliases: Vec<TrustDomain>,
    /// Policies there apply mesh-wide.
    pub root_namespace: Arc<str>,
    /// `svc.<this>`.
    pub cluster_domain: Arc<str>,
    /// Unknown destinations.
    pub outbound_policy: OutboundPolicy,
    /// Where inbound traffic goes on the pod.
    pub inbound_policy: InboundPolicy,
    /// mTLS between meshed workloads without being told.
    pub enable_auto_mtls: bool,
    /// Access log of every proxy.
    pub access_log: AccessLogConfig,
    /// Visibility of Services that do not say.
    pub default_service_export_to: Visibility,
    /// Visibility of VirtualServices that do not say.
    pub default_virtual_service_export_to: Visibility,
    /// Visibility of DestinationRules that do not say.
    pub default_destination_rule_export_to: Visibility,
    /// How paths are cleaned before they are matched.
    pub path_normalization: PathNormalization,
    /// Retries of routes without a retry block.
    pub default_http_retry: RetryPolicy,
    /// HTTP/1.1 services are called with HTTP/2 (`h2UpgradePolicy: UPGRADE`).
    pub h2_upgrade: bool,
    /// Locality preference; `None` if switched off.
    pub locality_lb: Option<LocalityLbSetting>,
    /// Wait after a failed DNS resolution.
    pub dns_refresh_rate: Duration,
    /// Lowest TLS version between workloads.
    pub mesh_mtls_min_version: TlsVersion,
    /// Metrics of the application are merged with the proxy's.
    pub enable_prometheus_merge: bool,
    /// Settings of each proxy.
    pub default_config: ProxyConfig,
}

impl Default for MeshConfig {
    fn default() -> Self {
        Self {
            proxy_listen_port: 15001,
            proxy_inbound_listen_port: 15006,
            connect_timeout: Duration::from_secs(10),
            tcp_keepalive: None,
            protocol_detection_timeout: None,
            trust_domain: TrustDomain::default(),
            trust_domain_aliases: Vec::new(),
            root_namespace: "istio-system".into(),
            cluster_domain: "cluster.local".into(),
            outbound_policy: OutboundPolicy::AllowAny,
            inbound_policy: InboundPolicy::Passthrough,
            enable_auto_mtls: true,
            access_log: AccessLogConfig::default(),
            default_service_export_to: Visibility::Public,
            default_virtual_service_export_to: Visibility::Public,
            default_destination_rule_export_to: Visibility::Public,
            path_normalization: PathNormalization::Base,
            default_http_retry: RetryPolicy::mesh_default(),
            h2_upgrade: false,
            locality_lb: Some(LocalityLbSetting::default()),
            dns_refresh_rate: Duration::from_secs(60),
            mesh_mtls_min_version: TlsVersion::V1_2,
            enable_prometheus_merge: true,
            default_config: ProxyConfig::default(),
        }
    }
}

/// `outboundTrafficPolicy.mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OutboundPolicy {
    /// Unknown destinations pass.
    AllowAny,
    /// Unknown destinations are refused.
    RegistryOnly,
}

/// `inboundTrafficPolicy.mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InboundPolicy {
    /// To the pod's address.
    Passthrough,
    /// To 127.0.0.1.
    Localhost,
}

/// `pathNormalization.normalization`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PathNormalization {
    /// As received.
    None,
    /// RFC 3986 dot segments and backslashes.
    Base,
    /// Also `//`.
    MergeSlashes,
    /// Also `%2F` and `%5C`.
    DecodeAndMergeSlashes,
}

/// `accessLogFile`, `accessLogFormat`, `accessLogEncoding`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AccessLogConfig {
    /// The file; `None` writes no log.
    pub file: Option<Arc<str>>,
    /// The format; `None` for the default.
    pub format: Option<Arc<str>>,
    /// Text or JSON.
    pub encoding: AccessLogEncoding,
}

/// `accessLogEncoding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum AccessLogEncoding {
    /// One line of text.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// `ProxyConfig`: the settings that control plane and injector act on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyConfig {
    /// Where the control plane is.
    pub discovery_address: Arc<str>,
    /// Worker threads; 0 follows the CPU limit.
    pub concurrency: u32,
    /// How long old connections may finish when listeners change.
    pub drain_duration: Duration,
    /// How long they may when the proxy ends.
    pub termination_drain_duration: Duration,
    /// Admin port.
    pub admin_port: u16,
    /// Status port.
    pub status_port: u16,
    /// REDIRECT or TPROXY.
    pub interception_mode: InterceptionMode,
    /// Applications start after the proxy is ready.
    pub hold_application_until_proxy_starts: bool,
    /// Trusted proxies before a gateway (`gatewayTopology.numTrustedProxies`).
    pub num_trusted_proxies: u32,
    /// Further environment of the proxy.
    pub proxy_metadata: std::collections::BTreeMap<Arc<str>, Arc<str>>,
}

impl Default for ProxyConfig {
    fn default() -> Self {
        Self {
            discovery_address: "istiod.istio-system.svc:15012".into(),
            concurrency: 0,
            drain_duration: Duration::from_secs(45),
            termination_drain_duration: Duration::from_secs(5),
            admin_port: 15000,
            status_port: 15020,
            interception_mode: InterceptionMode::Redirect,
            hold_application_until_proxy_starts: false,
            num_trusted_proxies: 0,
            proxy_metadata: Default::default(),
        }
    }
}

/// `interceptionMode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InterceptionMode {
    /// NAT redirection.
    Redirect,
    /// Transparent proxying, client addresses kept.
    Tproxy,
    /// No capture.
    None,
}
