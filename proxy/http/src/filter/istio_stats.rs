//! `istio.stats`: Istio's standard metrics of each request.

use std::rc::Rc;

use super::registry::Build;
use super::{Filter, HeadContext};
use crate::config::filter::FilterConfig;
use crate::config::filter::stats::StatsConfig;
use crate::telemetry::request_metrics;

/// The filter, configured by a [`StatsConfig`].
#[derive(Debug)]
struct IstioStats(FilterConfig);

/// The message that configures the filter, inside a `TypedStruct`.
pub(super) const KIND: &str = "stats.PluginConfig";

pub(super) fn build(config: &FilterConfig, _: &Build<'_>) -> Option<Rc<dyn Filter>> {
    config.get::<StatsConfig>()?;
    Some(Rc::new(IstioStats(config.clone())))
}

impl Filter for IstioStats {
    fn report(&self, context: &mut HeadContext<'_>) {
        if let Some(config) = self.0.get::<StatsConfig>() {
            let telemetry = &context.worker().telemetry;
            request_metrics::record(config, telemetry, &context.stream.info);
        }
    }
}
