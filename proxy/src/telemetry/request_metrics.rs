//! Istio's standard metrics.

/// `istio.stats` as executed.
#[derive(Debug)]
pub struct StatsConfig {}
