//! The metrics endpoint: a registry encoded as OpenMetrics text.
//!
//! Each component keeps a `Metrics` struct beside the code that counts and registers it into the
//! [`Registry`] that the assembly owns. Names are registered without `_total`, which the encoder adds to
//! counters.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
pub use prometheus_client::registry::Registry;

/// Content type of the answer, as Prometheus asks for it.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

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
        .with_state(registry)
}

async fn scrape(State(registry): State<Arc<Registry>>) -> Response {
    (
        StatusCode::OK,
        [(header::CONTENT_TYPE, CONTENT_TYPE)],
        encode(&registry),
    )
        .into_response()
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
}
