//! Own traces: spans of the program itself, sent by OTLP over gRPC.
//!
//! Every span of level info or above is exported, whatever the log filter says. Without a collector nothing waits: spans
//! that find the queue full, or that cannot be sent, are dropped.

use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use thiserror::Error;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::Layer as _;

use crate::build_info;
use crate::log::SpanLayer;

/// A collector that takes longer is given up on for the spans at hand.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why spans cannot be exported.
#[derive(Debug, Error)]
pub enum TraceError {
    /// Not a URL, or not one of plaintext gRPC.
    #[error("OTLP endpoint \"{0}\" is not of the form http://HOST:PORT")]
    Endpoint(String),
    /// The client could not be made.
    #[error("no OTLP exporter for \"{endpoint}\"")]
    Exporter {
        /// Where spans were to go.
        endpoint: String,
        /// Why they cannot.
        #[source]
        source: ExporterBuildError,
    },
}

/// Sends spans until it is shut down.
#[derive(Debug)]
pub struct Exporter {
    provider: SdkTracerProvider,
}

/// Who the spans are of.
#[derive(Clone, Copy, Debug)]
pub struct Service<'a> {
    /// `service.name`.
    pub name: &'static str,
    /// `service.instance.id`.
    pub instance: &'a str,
}

impl Exporter {
    /// An exporter to `endpoint`, and what brings it the spans, for [`crate::log::init_with`]. To be called within a
    /// tokio runtime, on which the connection lives.
    ///
    /// # Errors
    /// When the endpoint is not `http://HOST:PORT`.
    pub fn start(endpoint: &str, service: Service<'_>) -> Result<(Self, SpanLayer), TraceError> {
        let host = endpoint.strip_prefix("http://").unwrap_or_default();
        if host.trim_end_matches('/').is_empty() {
            return Err(TraceError::Endpoint(endpoint.to_owned()));
        }
        let exporter = SpanExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint)
            .with_timeout(EXPORT_TIMEOUT)
            .build()
            .map_err(|source| TraceError::Exporter {
                endpoint: endpoint.to_owned(),
                source,
            })?;
        let resource = Resource::builder_empty()
            .with_service_name(service.name)
            .with_attribute(KeyValue::new("service.version", build_info::VERSION))
            .with_attribute(KeyValue::new(
                "service.instance.id",
                service.instance.to_owned(),
            ))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource)
            .build();
        let scope = InstrumentationScope::builder("weft").build();
        let layer = tracing_opentelemetry::layer()
            .with_tracer(provider.tracer_with_scope(scope))
            .with_filter(LevelFilter::INFO)
            .boxed();
        Ok((Self { provider }, layer))
    }

    /// Sends what is left and ends.
    pub async fn shut_down(self) {
        let flush = move || self.provider.shutdown_with_timeout(EXPORT_TIMEOUT);
        match tokio::task::spawn_blocking(flush).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the last spans were not exported"),
            Err(error) => tracing::warn!(%error, "the last spans were not exported"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_endpoint_is_a_url_of_plaintext() {
        let service = Service {
            name: "test",
            instance: "test-1",
        };
        let start = |endpoint| Exporter::start(endpoint, service).map(|_| ());
        for bad in ["", "collector:4317", "http://", "https://collector:4317"] {
            let error = start(bad).unwrap_err().to_string();
            let expected = format!("OTLP endpoint \"{bad}\" is not of the form http://HOST:PORT");
            assert_eq!(error, expected);
        }
        assert!(start("http://127.0.0.1:4317").is_ok());
    }
}
