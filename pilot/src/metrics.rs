//! What pilot counts, under the names that Istio's control-plane dashboard knows.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mesh_runtime::metrics::BareCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use xds::delta::Response;
use xds::type_url::ResourceType;

/// Upper bounds in seconds: Istio's, and finer ones below, since a change takes milliseconds.
const BUCKETS: [f64; 13] = [
    0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 3.0, 5.0, 10.0, 20.0, 30.0, 60.0,
];
/// Versions of proxies with series of their own. Proxies choose what they say, so more are counted as `other`.
const VERSIONS_MAX: usize = 32;
const VERSION_BYTES_MAX: usize = 32;

type Labels = Vec<(String, String)>;
type Histograms = Family<Labels, Histogram, fn() -> Histogram>;

/// The counters of all streams.
#[derive(Clone, Debug)]
pub struct Metrics {
    pushes: Family<Labels, BareCounter>,
    rejects: Family<Labels, BareCounter>,
    pushed_bytes: Family<Labels, BareCounter>,
    push_time: Histograms,
    convergence_time: Histogram,
    queue_time: Histogram,
    connected: Connected,
    worlds: BareCounter,
    services: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            pushes: Family::default(),
            rejects: Family::default(),
            pushed_bytes: Family::default(),
            push_time: Family::new_with_constructor(histogram),
            convergence_time: histogram(),
            queue_time: histogram(),
            connected: Connected::default(),
            worlds: BareCounter::default(),
            services: Gauge::default(),
        }
    }
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
            "pilot_xds_push_time",
            "Seconds to make a response, by type",
            self.push_time.clone(),
        );
        registry.register(
            "pilot_proxy_convergence_time",
            "Seconds from a change until a proxy has acknowledged all that follows from it",
            self.convergence_time.clone(),
        );
        registry.register(
            "pilot_proxy_queue_time",
            "Seconds that a proxy waits until it is worked for",
            self.queue_time.clone(),
        );
        registry.register(
            "pilot_xds",
            "Proxies connected, by version",
            self.connected.gauges.clone(),
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

    /// A response was made.
    pub(crate) fn made(&self, resource_type: ResourceType, taken: Duration) {
        let of_type = self.push_time.get_or_create(&labels(resource_type));
        of_type.observe(taken.as_secs_f64());
    }

    /// A proxy has waited for a thread.
    pub(crate) fn queued(&self, waited: Duration) {
        self.queue_time.observe(waited.as_secs_f64());
    }

    /// A proxy has caught up with a change.
    pub(crate) fn converged(&self, taken: Duration) {
        self.convergence_time.observe(taken.as_secs_f64());
    }

    /// A proxy of this version is connected until the result is dropped.
    pub(crate) fn connected(&self, version: &str) -> Connection {
        self.connected.add(version)
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

/// Connected proxies by version; a version without any has no series.
#[derive(Clone, Debug, Default)]
struct Connected {
    gauges: Family<Labels, Gauge>,
    counts: Arc<Mutex<BTreeMap<String, i64>>>,
}

/// A proxy's share of `pilot_xds`.
#[derive(Debug)]
pub(crate) struct Connection {
    all: Connected,
    version: String,
}

impl Connected {
    fn add(&self, version: &str) -> Connection {
        let mut counts = self.lock();
        let is_known = counts.contains_key(version);
        let has_room = counts.len() < VERSIONS_MAX && version.len() <= VERSION_BYTES_MAX;
        let version = match version {
            "" => "unknown",
            _ if is_known || has_room => version,
            _ => "other",
        };
        let count = counts.entry(version.to_owned()).or_default();
        *count += 1;
        self.gauges.get_or_create(&of_version(version)).set(*count);
        drop(counts);
        Connection {
            all: self.clone(),
            version: version.to_owned(),
        }
    }

    fn remove(&self, version: &str) {
        let mut counts = self.lock();
        let count = counts.entry(version.to_owned()).or_default();
        *count -= 1;
        if *count > 0 {
            self.gauges.get_or_create(&of_version(version)).set(*count);
        } else {
            counts.remove(version);
            self.gauges.remove(&of_version(version));
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, i64>> {
        // Every write leaves the map whole.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.all.remove(&self.version);
    }
}

fn histogram() -> Histogram {
    Histogram::new(BUCKETS)
}

fn of_version(version: &str) -> Labels {
    vec![("version".to_owned(), version.to_owned())]
}

fn labels(resource_type: ResourceType) -> Labels {
    vec![("type".to_owned(), resource_type.short_name().to_lowercase())]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(metrics: &Metrics) -> Vec<String> {
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let text = mesh_runtime::metrics::encode(&registry);
        let lines = text.lines().filter(|line| line.starts_with("pilot_xds{"));
        let mut lines: Vec<_> = lines.map(ToOwned::to_owned).collect();
        lines.sort_unstable();
        lines
    }

    #[test]
    fn proxies_are_counted_by_version_while_they_are_connected() {
        let metrics = Metrics::default();
        let first = metrics.connected("1.29.0");
        let _second = metrics.connected("1.29.0");
        let unknown = metrics.connected("");
        assert_eq!(
            series(&metrics),
            [
                "pilot_xds{version=\"1.29.0\"} 2",
                "pilot_xds{version=\"unknown\"} 1"
            ]
        );
        drop((first, unknown));
        assert_eq!(series(&metrics), ["pilot_xds{version=\"1.29.0\"} 1"]);
    }

    #[test]
    fn versions_that_proxies_make_up_share_a_series() {
        let metrics = Metrics::default();
        let versions = (0..100).map(|n| format!("1.{n}"));
        let versions = versions.chain(["1".repeat(100)]);
        let many: Vec<_> = versions.map(|one| metrics.connected(&one)).collect();
        let all = series(&metrics);
        assert_eq!(all.len(), VERSIONS_MAX + 1);
        assert!(all.contains(&"pilot_xds{version=\"other\"} 69".to_owned()));
        drop(many);
        assert!(series(&metrics).is_empty());
    }
}
