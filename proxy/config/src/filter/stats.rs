//! `istio.stats`: Istio's standard metrics.

use std::sync::Arc;

use crate::peer::Peer;

/// `istio.stats` as executed.
#[derive(Debug)]
pub struct StatsConfig {
    /// The workload that this proxy belongs to.
    pub local: Arc<Peer>,
    /// Take the request's host as `destination_service` where the cluster does not name one.
    pub host_header_fallback: bool,
}
