//! What the data plane tells about its work: access logs, metrics, traces.

use std::sync::Arc;

pub mod access_log;
pub mod log_sink;
pub mod peer_metadata;
pub mod request_metrics;
pub mod stats;
pub mod stream_info;

use stats::{ClusterCells, HttpCells, ListenerCells, Scopes, TcpCells};

/// All numbers of the process, by scope.
#[derive(Debug, Default)]
pub struct Registry {
    /// Clusters, by `alt_stat_name` or name.
    pub clusters: Scopes<ClusterCells>,
    /// Connection managers, by `stat_prefix`.
    pub http: Scopes<HttpCells>,
    /// Listeners, by address or `stat_prefix`.
    pub listeners: Scopes<ListenerCells>,
    /// TCP proxies, by `stat_prefix`.
    pub tcp: Scopes<TcpCells>,
}

/// Counters and log buffers of one worker.
#[derive(Debug, Default)]
pub struct WorkerTelemetry {
    registry: Arc<Registry>,
}

impl WorkerTelemetry {
    /// The part of one worker.
    pub fn new(registry: &Arc<Registry>) -> Self {
        Self {
            registry: registry.clone(),
        }
    }

    /// This worker's cells of a cluster.
    pub fn cluster_cells(&self, stat_name: &Arc<str>) -> Arc<ClusterCells> {
        self.registry.clusters.cells(stat_name)
    }
}
