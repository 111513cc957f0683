//! The operator's settings as a chart leaves them in ConfigMap `istio-sidecar-injector`: key `values` with
//! the chart's own values in JSON, key `config` with a few settings in YAML. Names and meanings are Istio's.
//!
//! A value that is not there leaves [`InjectorConfig`] as it is; unknown ones are ignored, since a chart's
//! values hold much that is not about injection.

mod wire;

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};
use thiserror::Error;

use crate::config::InjectorConfig;
use crate::template::custom::{Templates, TemplatesError};
use wire::{Chart, Global, Proxy, Settings, Webhook};

/// The ConfigMap's key with the chart's values, in JSON.
pub const VALUES: &str = "values";

/// The ConfigMap's key with the injector's own settings, in YAML.
pub const CONFIG: &str = "config";

/// Why the settings cannot be read.
#[derive(Debug, Error)]
pub enum ValuesError {
    /// Key `values`.
    #[error("key \"values\" is not the values of a chart in JSON")]
    Values(#[source] serde_json::Error),
    /// Key `config`.
    #[error("key \"config\" is not the injector's configuration in YAML: {0}")]
    Config(String),
    /// The templates of either.
    #[error("the templates cannot be used")]
    Templates(#[from] TemplatesError),
}

/// What a chart says about injection.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Values {
    chart: Chart,
    settings: Settings,
    templates: Arc<Templates>,
    /// The chart's values as they are written, for templates.
    written: Arc<Value>,
}

impl Values {
    /// Reads both keys, of which either may be absent.
    ///
    /// # Errors
    /// When one of them cannot be understood.
    pub fn parse(values: Option<&str>, config: Option<&str>) -> Result<Self, ValuesError> {
        let written = match values {
            Some(values) => serde_json::from_str(values).map_err(ValuesError::Values)?,
            None => json!({}),
        };
        let chart = Chart::deserialize(&written).map_err(ValuesError::Values)?;
        let settings: Option<Settings> = config
            .map(serde_saphyr::from_str)
            .transpose()
            .map_err(|error: serde_saphyr::Error| ValuesError::Config(error.to_string()))?;
        let settings = settings.unwrap_or_default();
        Ok(Self {
            templates: Arc::new(templates(&chart.sidecar_injector_webhook, &settings)?),
            chart,
            settings,
            written: Arc::new(written),
        })
    }

    /// Lays the values over `config`.
    pub fn apply(&self, config: &mut InjectorConfig) {
        let Self {
            chart,
            settings,
            templates,
            written,
        } = self;
        config.templates = Arc::clone(templates);
        config.values = Arc::clone(written);
        apply_global(&chart.global, config);
        apply_proxy(&chart.global.proxy, config);
        let webhook = &chart.sidecar_injector_webhook;
        set(&mut config.rewrite_probes, webhook.rewrite_app_http_probe);
        set(
            &mut config.inject_by_default,
            webhook.enable_namespaces_by_default,
        );
        set(&mut config.revision, non_empty(&chart.revision));
        let cni = chart.pilot.cni.enabled.or(chart.istio_cni.enabled);
        set(&mut config.cni, cni);
        let policy = settings
            .policy
            .as_deref()
            .or(chart.global.proxy.auto_inject.as_deref());
        config.inject_unasked = policy != Some("disabled");
        let annotations = webhook.injected_annotations.iter();
        let annotations = annotations.chain(&settings.injected_annotations);
        config.injected_annotations = annotations
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        let both = |first: &[_], second: &[_]| [first, second].concat();
        config.never_inject = both(
            &webhook.never_inject_selector,
            &settings.never_inject_selector,
        );
        config.always_inject = both(
            &webhook.always_inject_selector,
            &settings.always_inject_selector,
        );
    }

    /// The chart's choice of native sidecars, if it makes one.
    pub fn native_sidecars(&self) -> Option<bool> {
        match self.chart.pilot.env.get("ENABLE_NATIVE_SIDECARS")? {
            Value::Bool(choice) => Some(*choice),
            Value::String(choice) => choice.parse().ok(),
            _ => None,
        }
    }
}

/// Those of both keys; `config` wins.
fn templates(webhook: &Webhook, settings: &Settings) -> Result<Templates, TemplatesError> {
    let mut sources = webhook.templates.clone();
    sources.extend(settings.templates.clone());
    let defaults = [&settings.default_templates, &webhook.default_templates];
    let defaults = defaults.into_iter().find(|names| !names.is_empty());
    let defaults = defaults.cloned().unwrap_or_default();
    Templates::new(sources, defaults, settings.aliases.clone())
}

fn apply_global(global: &Global, config: &mut InjectorConfig) {
    set(
        &mut config.image,
        image(global, global.proxy.image.as_deref()),
    );
    config.init_image = image(global, global.proxy_init.image.as_deref());
    if let Some(policy) = non_empty(&global.image_pull_policy) {
        config.image_pull_policy = Some(policy);
    }
    set(
        &mut config.image_pull_secrets,
        global.image_pull_secrets.clone(),
    );
    set(
        &mut config.root_namespace,
        non_empty(&global.istio_namespace),
    );
    set(&mut config.ca_address, non_empty(&global.ca_address));
    let cluster = &global.multi_cluster.cluster_name;
    set(&mut config.cluster_id, non_empty(cluster));
    if let Some(mesh_id) = non_empty(&global.mesh_id) {
        config.mesh_id = Some(mesh_id);
    }
    if let Some(network) = non_empty(&global.network) {
        config.network = Some(network);
    }
}

fn apply_proxy(proxy: &Proxy, config: &mut InjectorConfig) {
    set(&mut config.cluster_domain, non_empty(&proxy.cluster_domain));
    set(&mut config.log_level, non_empty(&proxy.log_level));
    set(&mut config.resources, non_empty_map(&proxy.resources));
    set(
        &mut config.hold_application_until_proxy_starts,
        proxy
            .hold_application_until_proxy_starts
            .filter(|hold| *hold),
    );
    for (setting, value) in [
        (
            &mut config.include_outbound_ip_ranges,
            &proxy.include_ip_ranges,
        ),
        (
            &mut config.exclude_outbound_ip_ranges,
            &proxy.exclude_ip_ranges,
        ),
        (
            &mut config.include_inbound_ports,
            &proxy.include_inbound_ports,
        ),
        (
            &mut config.exclude_inbound_ports,
            &proxy.exclude_inbound_ports,
        ),
        (
            &mut config.include_outbound_ports,
            &proxy.include_outbound_ports,
        ),
        (
            &mut config.exclude_outbound_ports,
            &proxy.exclude_outbound_ports,
        ),
    ] {
        set(setting, value.clone());
    }
    let probes = &mut config.probes;
    let startup = &proxy.startup_probe;
    set(&mut probes.startup, startup.enabled);
    set(&mut probes.startup_failures, startup.failure_threshold);
    set(
        &mut probes.readiness_initial_delay,
        proxy.readiness_initial_delay_seconds,
    );
    set(&mut probes.readiness_period, proxy.readiness_period_seconds);
    set(
        &mut probes.readiness_failures,
        proxy.readiness_failure_threshold,
    );
    if let Some(profile) = non_empty_map(&proxy.seccomp_profile) {
        config.seccomp_profile = Some(profile);
    }
    if let Some(lifecycle) = non_empty_map(&proxy.lifecycle) {
        config.lifecycle = Some(lifecycle);
    }
}

/// A full reference as it is, a bare name with hub and tag; none if either is missing.
fn image(global: &Global, name: Option<&str>) -> Option<String> {
    let name = name.filter(|name| !name.is_empty())?;
    if name.contains('/') {
        return Some(name.to_owned());
    }
    let (hub, tag) = (non_empty(&global.hub)?, global.tag.as_ref()?.as_text()?);
    Some(format!("{hub}/{name}:{tag}"))
}

fn set<T>(setting: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *setting = value;
    }
}

/// Charts write what is not set as an empty text.
fn non_empty(value: &Option<String>) -> Option<String> {
    value.clone().filter(|value| !value.is_empty())
}

/// Or as an empty map.
fn non_empty_map(value: &Option<Value>) -> Option<Value> {
    let is_empty = |value: &Value| value.as_object().is_none_or(serde_json::Map::is_empty);
    value.clone().filter(|value| !is_empty(value))
}

#[cfg(test)]
mod tests;
