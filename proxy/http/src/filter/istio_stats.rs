//! `istio.stats`: Istio's standard metrics of each request.

use std::sync::Arc;

use super::Filter;
use crate::config::filter::stats::StatsConfig;
use crate::stream::Stream;
use crate::telemetry::request_metrics;

/// The filter.
#[derive(Debug)]
pub struct IstioStats {
    name: Box<str>,
    config: Arc<StatsConfig>,
}

impl IstioStats {
    /// The filter under its name in `http_filters`.
    pub fn new(name: &str, config: Arc<StatsConfig>) -> Self {
        Self {
            name: name.into(),
            config,
        }
    }
}

impl Filter for IstioStats {
    fn name(&self) -> &str {
        &self.name
    }

    fn on_complete(&self, stream: &mut Stream) {
        request_metrics::record(&self.config, &stream.worker().telemetry, &stream.info);
    }
}
