//! The ConfigMap as written: a chart's values, of which only those about injection are read.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::policy::Selector;

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Chart {
    pub(super) global: Global,
    pub(super) pilot: Pilot,
    /// The older name of `pilot.cni`.
    #[serde(rename = "istio_cni")]
    pub(super) istio_cni: Cni,
    pub(super) revision: Option<String>,
    pub(super) sidecar_injector_webhook: Webhook,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Global {
    pub(super) hub: Option<String>,
    pub(super) tag: Option<Tag>,
    pub(super) image_pull_policy: Option<String>,
    pub(super) image_pull_secrets: Option<Vec<String>>,
    pub(super) istio_namespace: Option<String>,
    pub(super) ca_address: Option<String>,
    #[serde(rename = "meshID")]
    pub(super) mesh_id: Option<String>,
    pub(super) network: Option<String>,
    pub(super) multi_cluster: MultiCluster,
    pub(super) proxy: Proxy,
    #[serde(rename = "proxy_init")]
    pub(super) proxy_init: ProxyInit,
}

/// A tag that looks like a number becomes one on its way through Helm.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub(super) enum Tag {
    Text(String),
    Number(serde_json::Number),
}

impl Tag {
    pub(super) fn as_text(&self) -> Option<String> {
        match self {
            Self::Text(text) if text.is_empty() => None,
            Self::Text(text) => Some(text.clone()),
            Self::Number(number) => Some(number.to_string()),
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct MultiCluster {
    pub(super) cluster_name: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct ProxyInit {
    pub(super) image: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Proxy {
    pub(super) image: Option<String>,
    pub(super) auto_inject: Option<String>,
    pub(super) cluster_domain: Option<String>,
    pub(super) log_level: Option<String>,
    pub(super) resources: Option<Value>,
    pub(super) hold_application_until_proxy_starts: Option<bool>,
    #[serde(rename = "includeIPRanges")]
    pub(super) include_ip_ranges: Option<String>,
    #[serde(rename = "excludeIPRanges")]
    pub(super) exclude_ip_ranges: Option<String>,
    pub(super) include_inbound_ports: Option<String>,
    pub(super) exclude_inbound_ports: Option<String>,
    pub(super) include_outbound_ports: Option<String>,
    pub(super) exclude_outbound_ports: Option<String>,
    pub(super) readiness_initial_delay_seconds: Option<u32>,
    pub(super) readiness_period_seconds: Option<u32>,
    pub(super) readiness_failure_threshold: Option<u32>,
    pub(super) startup_probe: StartupProbe,
    pub(super) seccomp_profile: Option<Value>,
    pub(super) lifecycle: Option<Value>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct StartupProbe {
    pub(super) enabled: Option<bool>,
    pub(super) failure_threshold: Option<u32>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Pilot {
    pub(super) cni: Cni,
    pub(super) env: Map<String, Value>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Cni {
    pub(super) enabled: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Webhook {
    #[serde(rename = "rewriteAppHTTPProbe")]
    pub(super) rewrite_app_http_probe: Option<bool>,
    pub(super) enable_namespaces_by_default: Option<bool>,
    pub(super) injected_annotations: BTreeMap<String, String>,
    pub(super) never_inject_selector: Vec<Selector>,
    pub(super) always_inject_selector: Vec<Selector>,
    pub(super) templates: BTreeMap<String, String>,
    pub(super) default_templates: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Settings {
    pub(super) policy: Option<String>,
    #[serde(deserialize_with = "or_default")]
    pub(super) templates: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_default")]
    pub(super) default_templates: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(super) aliases: BTreeMap<String, Vec<String>>,
    #[serde(deserialize_with = "or_default")]
    pub(super) injected_annotations: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_default")]
    pub(super) never_inject_selector: Vec<Selector>,
    #[serde(deserialize_with = "or_default")]
    pub(super) always_inject_selector: Vec<Selector>,
}

/// Charts leave an empty value behind a key that has nothing below it.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
