//! What the injector counts, under the names that Istio's dashboards query.

use mesh_runtime::metrics::Registry;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;

/// Counters of one webhook.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Reviews received.
    pub requests: Counter,
    /// Pods injected.
    pub success: Counter,
    /// Pods refused or reviews not understood.
    pub failure: Counter,
    /// Pods left alone by policy.
    pub skip: Counter,
    /// Seconds that a review took.
    pub seconds: Histogram,
}

/// Upper bounds in seconds; an injection takes a fraction of a millisecond, a busy machine more.
const BUCKETS: [f64; 6] = [0.0005, 0.001, 0.005, 0.01, 0.1, 1.0];

impl Default for Metrics {
    fn default() -> Self {
        Self {
            requests: Counter::default(),
            success: Counter::default(),
            failure: Counter::default(),
            skip: Counter::default(),
            seconds: Histogram::new(BUCKETS),
        }
    }
}

impl Metrics {
    /// Registers everything under `sidecar_injection_`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("sidecar_injection");
        registry.register("requests", "Reviews received", self.requests.clone());
        registry.register("success", "Pods injected", self.success.clone());
        registry.register("failure", "Pods refused", self.failure.clone());
        registry.register("skip", "Pods left alone by policy", self.skip.clone());
        registry.register("time_seconds", "Time of a review", self.seconds.clone());
    }
}
