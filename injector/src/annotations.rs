//! What a pod's author asks for by annotation.
//!
//! Every annotation of Istio's that concerns injection is known here: acted upon, or named in a warning that
//! the user sees (`kubectl` prints the warnings of an admission answer). A value that cannot be understood is
//! an error, as silently ignoring `excludeOutboundPorts: 33o6` would break the pod in a way nobody can find.

mod values;

use std::collections::BTreeMap;

use serde_json::Value;
use thiserror::Error;

use crate::config::{InjectorConfig, STATUS_PORT};

/// The annotation that lists what was injected.
pub const STATUS: &str = "sidecar.istio.io/status";
/// The annotation that keeps what the user's own proxy container said, for a second injection.
pub const OVERRIDES: &str = "proxy.istio.io/overrides";
/// The annotation that chooses who handles the pod's traffic: our proxy or an Envoy that it starts.
pub const DATA_PLANE: &str = "weft.dev/data-plane";
/// The annotation that chooses templates.
pub const TEMPLATES: &str = "inject.istio.io/templates";

/// Annotations that are understood and have no effect here yet, with what to know about them.
const UNSUPPORTED: [(&str, &str); 14] = [
    (
        "sidecar.istio.io/bootstrapOverride",
        "the proxy's bootstrap cannot be replaced",
    ),
    (
        "sidecar.istio.io/componentLogLevel",
        "use sidecar.istio.io/logLevel with a filter",
    ),
    (
        "sidecar.istio.io/agentLogLevel",
        "use sidecar.istio.io/logLevel",
    ),
    (
        "sidecar.istio.io/proxyImageType",
        "there is one type of image",
    ),
    (
        "sidecar.istio.io/statsInclusionPrefixes",
        "all statistics are kept",
    ),
    (
        "sidecar.istio.io/statsInclusionSuffixes",
        "all statistics are kept",
    ),
    (
        "sidecar.istio.io/statsInclusionRegexps",
        "all statistics are kept",
    ),
    (
        "sidecar.istio.io/statsHistogramBuckets",
        "buckets are fixed",
    ),
    ("sidecar.istio.io/statsHistogramBins", "buckets are fixed"),
    (
        "sidecar.istio.io/statsFlushInterval",
        "statistics are not pushed",
    ),
    (
        "sidecar.istio.io/statsEvictionInterval",
        "statistics are not evicted",
    ),
    (
        "sidecar.istio.io/statsCompression",
        "statistics are not compressed",
    ),
    (
        "sidecar.istio.io/extraStatTags",
        "tags come from the Telemetry API",
    ),
    (
        "readiness.status.sidecar.istio.io/applicationPorts",
        "the proxy does not wait for ports",
    ),
];

/// How inbound connections reach the proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InterceptionMode {
    /// By NAT.
    #[default]
    Redirect,
    /// By TPROXY, which keeps the client's address.
    Tproxy,
    /// Not at all: the application listens to the proxy by agreement.
    None,
}

impl InterceptionMode {
    /// The name in annotations, ProxyConfig and node metadata.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Redirect => "REDIRECT",
            Self::Tproxy => "TPROXY",
            Self::None => "NONE",
        }
    }
}

/// An annotation that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("annotation \"{name}\": value \"{value}\" {reason}")]
pub struct AnnotationError {
    /// Its key.
    pub name: String,
    /// Its value.
    pub value: String,
    /// What is wrong, after "value …".
    pub reason: String,
}

/// The annotations of one pod over the operator's defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct Annotations {
    raw: BTreeMap<String, String>,
    /// How inbound connections reach the proxy.
    pub interception_mode: InterceptionMode,
    /// The proxy's status port; 0 switches health checks of the proxy off.
    pub status_port: u16,
    /// Whether probes are sent through the proxy.
    pub rewrite_probes: bool,
    /// Whether the proxy is an init container.
    pub native_sidecar: bool,
    /// Whether the application's metrics are merged into the proxy's.
    pub merge_prometheus: bool,
    /// The effective ProxyConfig.
    pub proxy_config: Value,
    /// Volumes to add, by name.
    pub user_volumes: BTreeMap<String, Value>,
    /// Mounts to add to the proxy's container, by volume name.
    pub user_volume_mounts: BTreeMap<String, Value>,
}

impl Annotations {
    /// Reads and checks all annotations of a pod.
    pub fn parse(
        raw: BTreeMap<String, String>,
        config: &InjectorConfig,
    ) -> Result<Self, AnnotationError> {
        values::validate(&raw)?;
        let proxy_config = proxy_config(&raw, config)?;
        let reader = Reader(&raw);
        Ok(Self {
            interception_mode: interception_mode(&reader, &proxy_config)?,
            status_port: reader
                .parse("status.sidecar.istio.io/port", "is not a port")?
                .or_else(|| u16::try_from(proxy_config["statusPort"].as_u64()?).ok())
                .unwrap_or(STATUS_PORT),
            rewrite_probes: reader
                .boolean("sidecar.istio.io/rewriteAppHTTPProbers")?
                .unwrap_or(config.rewrite_probes),
            native_sidecar: reader
                .boolean("sidecar.istio.io/nativeSidecar")?
                .unwrap_or(config.native_sidecar),
            merge_prometheus: reader
                .boolean("prometheus.istio.io/merge-metrics")?
                .unwrap_or(config.merge_prometheus),
            user_volumes: reader.json_map("sidecar.istio.io/userVolume")?,
            user_volume_mounts: reader.json_map("sidecar.istio.io/userVolumeMount")?,
            proxy_config,
            raw,
        })
    }

    /// The annotation as written.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.raw.get(name).map(String::as_str)
    }

    /// The annotation, or what the operator decided.
    pub fn or<'a>(&'a self, name: &str, default: &'a str) -> &'a str {
        self.get(name).unwrap_or(default)
    }

    /// Where applications' health and merged metrics are served; `status_port` may switch only checks off.
    pub fn status_port_or_default(&self) -> u16 {
        match self.status_port {
            0 => STATUS_PORT,
            port => port,
        }
    }

    /// Whether application containers wait for the proxy.
    pub fn holds_application(&self, config: &InjectorConfig) -> bool {
        self.proxy_config["holdApplicationUntilProxyStarts"]
            .as_bool()
            .unwrap_or(config.hold_application_until_proxy_starts)
    }

    /// The address of the control plane's discovery service, if the pod or the mesh sets one.
    pub fn discovery_address(&self) -> Option<&str> {
        self.get("sidecar.istio.io/discoveryAddress")
            .or(self.proxy_config["discoveryAddress"].as_str())
    }

    /// What the author should know about annotations without effect.
    pub fn warnings(&self) -> Vec<String> {
        UNSUPPORTED
            .iter()
            .filter(|(name, _)| self.raw.contains_key(*name))
            .map(|(name, why)| format!("annotation \"{name}\" has no effect: {why}"))
            .collect()
    }
}

fn interception_mode(
    reader: &Reader<'_>,
    proxy_config: &Value,
) -> Result<InterceptionMode, AnnotationError> {
    const NAME: &str = "sidecar.istio.io/interceptionMode";
    let mode = reader.0.get(NAME).map(String::as_str);
    match mode.or(proxy_config["interceptionMode"].as_str()) {
        None | Some("REDIRECT") => Ok(InterceptionMode::Redirect),
        Some("TPROXY") => Ok(InterceptionMode::Tproxy),
        Some("NONE") => Ok(InterceptionMode::None),
        Some(other) => Err(error(NAME, other, "is not one of REDIRECT, TPROXY, NONE")),
    }
}

fn proxy_config(
    raw: &BTreeMap<String, String>,
    config: &InjectorConfig,
) -> Result<Value, AnnotationError> {
    const NAME: &str = "proxy.istio.io/config";
    let mut merged = config.proxy_config.clone();
    if let Some(text) = raw.get(NAME) {
        let overlay: Value = serde_saphyr::from_str(text)
            .map_err(|_| error(NAME, text, "is not a ProxyConfig in YAML"))?;
        if !overlay.is_object() && !overlay.is_null() {
            return Err(error(NAME, text, "is not a ProxyConfig in YAML"));
        }
        if overlay.is_object() {
            crate::json::merge_deep(&mut merged, &overlay);
        }
    }
    Ok(merged)
}

struct Reader<'a>(&'a BTreeMap<String, String>);

impl Reader<'_> {
    fn parse<T: std::str::FromStr>(
        &self,
        name: &str,
        reason: &str,
    ) -> Result<Option<T>, AnnotationError> {
        let Some(value) = self.0.get(name) else {
            return Ok(None);
        };
        let parsed = value.parse().map_err(|_| error(name, value, reason))?;
        Ok(Some(parsed))
    }

    /// The spellings that Go's `strconv.ParseBool` accepts.
    fn boolean(&self, name: &str) -> Result<Option<bool>, AnnotationError> {
        let Some(value) = self.0.get(name) else {
            return Ok(None);
        };
        match value.as_str() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Some(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Some(false)),
            _ => Err(error(name, value, "is not a boolean")),
        }
    }

    fn json_map(&self, name: &str) -> Result<BTreeMap<String, Value>, AnnotationError> {
        let Some(value) = self.0.get(name) else {
            return Ok(BTreeMap::new());
        };
        serde_json::from_str(value).map_err(|_| error(name, value, "is not a JSON object"))
    }
}

fn error(name: &str, value: &str, reason: &str) -> AnnotationError {
    AnnotationError {
        name: name.to_owned(),
        value: value.to_owned(),
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests;
