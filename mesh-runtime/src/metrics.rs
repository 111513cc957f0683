//! The metrics endpoint: a registry encoded as OpenMetrics text.
//!
//! Each component keeps a `Metrics` struct beside the code that counts and registers it into the
//! [`Registry`] that the assembly owns. Names are registered without `_total`, which the encoder adds to
//! counters; series that Istio's dashboards know without that suffix are [`BareCounter`]s.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::{MetricType, TypedMetric};
pub use prometheus_client::registry::Registry;
use tokio::sync::Semaphore;

/// Content type of the answer, as Prometheus asks for it.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A counter whose series carries the registered name as it is, as Istio's control plane names its own
/// (`pilot_xds_pushes`, `citadel_server_csr_count`).
///
/// OpenMetrics demands `_total` on counters, so its type is declared `unknown`.
#[derive(Clone, Debug, Default)]
pub struct BareCounter(Arc<AtomicU64>);

impl BareCounter {
    /// Adds one.
    pub fn inc(&self) {
        self.inc_by(1);
    }

    /// Adds `count`.
    pub fn inc_by(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// The count so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl TypedMetric for BareCounter {
    const TYPE: MetricType = MetricType::Unknown;
}

impl EncodeMetric for BareCounter {
    fn encode(&self, mut encoder: MetricEncoder) -> Result<(), std::fmt::Error> {
        encoder.encode_gauge(&self.get())
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

/// The registry as OpenMetrics text, with the closing `# EOF` line.
pub fn encode(registry: &Registry) -> String {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, registry)
        .expect("writing to a string does not fail");
    text
}

/// Serves the registry on `GET /metrics`.
pub fn router(registry: Arc<Registry>) -> axum::Router {
    axum::Router::new()
        .route("/metrics", get(scrape))
        .with_state(Scrapes {
            registry,
            place: Arc::new(Semaphore::new(1)),
        })
}

/// Anybody may ask, and the text is as long as there are series: it is written on a blocking thread, one at a time.
#[derive(Clone)]
struct Scrapes {
    registry: Arc<Registry>,
    place: Arc<Semaphore>,
}

async fn scrape(State(Scrapes { registry, place }): State<Scrapes>) -> Response {
    let place = place.acquire_owned().await;
    let encoded = tokio::task::spawn_blocking(move || {
        // Kept to the end of the work, which goes on when the caller is gone.
        let _place = place;
        encode(&registry)
    });
    match encoded.await {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;

    use super::*;

    #[test]
    fn a_counter_is_encoded_with_its_help_and_suffix() {
        let mut registry = Registry::default();
        let counter: Counter = Counter::default();
        registry.register("requests", "Requests seen", counter.clone());
        counter.inc_by(3);
        assert_eq!(
            encode(&registry),
            "# HELP requests Requests seen.\n# TYPE requests counter\nrequests_total 3\n# EOF\n"
        );
    }

    /// A gauge that notes which thread encodes it.
    #[derive(Clone, Debug, Default)]
    struct Witness(Arc<std::sync::Mutex<Vec<std::thread::ThreadId>>>);

    impl EncodeMetric for Witness {
        fn encode(&self, mut encoder: MetricEncoder) -> Result<(), std::fmt::Error> {
            self.0.lock().unwrap().push(std::thread::current().id());
            encoder.encode_gauge(&1)
        }

        fn metric_type(&self) -> MetricType {
            MetricType::Gauge
        }
    }

    #[tokio::test]
    async fn the_text_is_written_by_no_async_worker() {
        let (witness, mut registry) = (Witness::default(), Registry::default());
        registry.register("seen", "Seen", witness.clone());
        let scrapes = Scrapes {
            registry: Arc::new(registry),
            place: Arc::new(Semaphore::new(1)),
        };
        assert_eq!(scrape(State(scrapes)).await.status(), StatusCode::OK);
        let threads = witness.0.lock().unwrap().clone();
        assert_eq!(threads.len(), 1);
        assert_ne!(threads[0], std::thread::current().id());
    }

    #[test]
    fn a_bare_counter_keeps_its_name() {
        let mut registry = Registry::default();
        let counter = BareCounter::default();
        registry.register("pilot_xds_pushes", "Pushes", counter.clone());
        counter.inc();
        assert_eq!(
            encode(&registry),
            "# HELP pilot_xds_pushes Pushes.\n# TYPE pilot_xds_pushes unknown\npilot_xds_pushes 1\n# EOF\n"
        );
    }
}
