//! What the mesh's own configuration says about injection.

use std::time::Duration;

use mesh_api::mesh_config::{InterceptionMode, MeshConfig, ProxyConfig};
use serde_json::{Map, Value, json};

use super::InjectorConfig;

impl InjectorConfig {
    /// The settings of a mesh, the rest as by default.
    pub fn of_mesh(mesh: &MeshConfig) -> Self {
        let config = &mesh.default_config;
        Self {
            trust_domain: mesh.trust_domain.to_string(),
            cluster_domain: mesh.cluster_domain.to_string(),
            root_namespace: mesh.root_namespace.to_string(),
            ca_address: config.discovery_address.to_string(),
            proxy_config: proxy_config(mesh),
            hold_application_until_proxy_starts: config.hold_application_until_proxy_starts,
            merge_prometheus: mesh.enable_prometheus_merge,
            ..Self::default()
        }
    }
}

/// The mesh's ProxyConfig in the JSON that proxies read, without what equals the defaults.
fn proxy_config(mesh: &MeshConfig) -> Value {
    let (mut fields, defaults) = (
        fields(&mesh.default_config),
        fields(&ProxyConfig::default()),
    );
    fields.retain(|name, value| defaults.get(name) != Some(value));
    let address = json!(*mesh.default_config.discovery_address);
    fields.insert("discoveryAddress".to_owned(), address);
    fields.into()
}

fn fields(config: &ProxyConfig) -> Map<String, Value> {
    let metadata = config.proxy_metadata.iter();
    let metadata: Map<String, Value> = metadata
        .map(|(key, value)| (key.to_string(), json!(**value)))
        .collect();
    let fields = [
        ("concurrency", json!(config.concurrency)),
        ("drainDuration", seconds(config.drain_duration)),
        (
            "terminationDrainDuration",
            seconds(config.termination_drain_duration),
        ),
        ("proxyAdminPort", json!(config.admin_port)),
        ("statusPort", json!(config.status_port)),
        (
            "interceptionMode",
            json!(match config.interception_mode {
                InterceptionMode::Redirect => "REDIRECT",
                InterceptionMode::Tproxy => "TPROXY",
                InterceptionMode::None => "NONE",
            }),
        ),
        (
            "holdApplicationUntilProxyStarts",
            json!(config.hold_application_until_proxy_starts),
        ),
        (
            "gatewayTopology",
            json!({"numTrustedProxies": config.num_trusted_proxies}),
        ),
        ("proxyMetadata", metadata.into()),
    ];
    fields
        .map(|(name, value)| (name.to_owned(), value))
        .into_iter()
        .collect()
}

/// A duration as protobuf's JSON writes it.
fn seconds(duration: Duration) -> Value {
    json!(format!("{}s", duration.as_secs_f64()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_from_the_defaults_is_written() {
        let mut mesh = MeshConfig::default();
        let address = json!("istiod.istio-system.svc:15012");
        assert_eq!(proxy_config(&mesh), json!({"discoveryAddress": address}));
        mesh.default_config.termination_drain_duration = Duration::from_millis(1500);
        mesh.default_config.interception_mode = InterceptionMode::Tproxy;
        mesh.default_config.num_trusted_proxies = 2;
        mesh.default_config
            .proxy_metadata
            .insert("A".into(), "b".into());
        assert_eq!(
            proxy_config(&mesh),
            json!({
                "discoveryAddress": address,
                "terminationDrainDuration": "1.5s",
                "interceptionMode": "TPROXY",
                "gatewayTopology": {"numTrustedProxies": 2},
                "proxyMetadata": {"A": "b"},
            })
        );
    }
}
