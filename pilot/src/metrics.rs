//! What pilot counts, under the names that Istio's control-plane dashboard knows.

use mesh_runtime::metrics::BareCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use xds::delta::Response;
use xds::type_url::ResourceType;

/// The counters of all streams.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    pushes: Family<Vec<(String, String)>, BareCounter>,
    rejects: Family<Vec<(String, String)>, BareCounter>,
    pushed_bytes: Family<Vec<(String, String)>, BareCounter>,
    worlds: BareCounter,
    services: Gauge,
}

impl Metrics {
    /// Registers everything.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "pilot_xds_pushes",
            "Responses sent, by type",
            self.pushes.clone(),
        );
        registry.register(
            "pilot_total_xds_rejects",
            "Responses refused by proxies, by type",
            self.rejects.clone(),
        );
        registry.register(
            "pilot_xds_config_size_bytes_sum",
            "Bytes of resources sent, by type",
            self.pushed_bytes.clone(),
        );
        registry.register(
            "pilot_pushes",
            "Configurations published to proxies",
            self.worlds.clone(),
        );
        registry.register("pilot_services", "Services known", self.services.clone());
    }

    /// A response was sent.
    pub fn pushed(&self, response: &Response) {
        let labels = labels(response.resource_type);
        self.pushes.get_or_create(&labels).inc();
        self.pushed_bytes
            .get_or_create(&labels)
            .inc_by(response.value_len() as u64);
    }

    /// A response was refused.
    pub fn nacked(&self, resource_type: ResourceType) {
        self.rejects.get_or_create(&labels(resource_type)).inc();
    }

    /// A new configuration with so many services was published.
    pub fn published(&self, services: usize) {
        self.worlds.inc();
        self.services
            .set(i64::try_from(services).unwrap_or(i64::MAX));
    }
}

fn labels(resource_type: ResourceType) -> Vec<(String, String)> {
    vec![("type".to_owned(), resource_type.short_name().to_lowercase())]
}
