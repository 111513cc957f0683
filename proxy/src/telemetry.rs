//! What the data plane tells about its work: access logs, metrics, traces.

use std::cell::RefCell;
use std::sync::Arc;

pub mod access_log;
pub mod log_format;
pub mod log_sink;
pub mod peer_metadata;
pub mod request_metrics;
pub mod stats;
pub mod stream_info;

use log_sink::{LogSinks, SinkId};
use stats::{ClusterCells, HttpCells, ListenerCells, Scopes, TcpCells};

/// A buffer is handed to the writer when it is this long, or when the worker's upkeep comes by.
const LOG_BUFFER_BYTES: usize = 64 * 1024;

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
    sinks: Option<LogSinks>,
    /// By the sinks' numbers.
    buffers: RefCell<Vec<Vec<u8>>>,
}

impl WorkerTelemetry {
    /// The part of one worker.
    pub fn new(registry: &Arc<Registry>, sinks: &LogSinks) -> Self {
        Self {
            registry: registry.clone(),
            sinks: Some(sinks.clone()),
            buffers: RefCell::default(),
        }
    }

    /// New cells of a cluster for this worker. Asked for once, when the worker first uses the cluster.
    pub fn cluster_cells(&self, stat_name: &Arc<str>) -> Arc<ClusterCells> {
        self.registry.clusters.cells(stat_name)
    }

    /// Appends a line to the buffer of a sink.
    pub fn log_line(&self, sink: SinkId, write: impl FnOnce(&mut Vec<u8>)) {
        let mut buffers = self.buffers.borrow_mut();
        let index = sink.0 as usize;
        if buffers.len() <= index {
            buffers.resize_with(index + 1, Vec::new);
        }
        let buffer = &mut buffers[index];
        write(buffer);
        if buffer.len() >= LOG_BUFFER_BYTES {
            self.hand_over(sink, buffer);
        }
    }

    /// Hands all lines to the writer.
    pub fn flush_logs(&self) {
        for (index, buffer) in self.buffers.borrow_mut().iter_mut().enumerate() {
            self.hand_over(SinkId(index as u32), buffer);
        }
    }

    fn hand_over(&self, sink: SinkId, buffer: &mut Vec<u8>) {
        if let (Some(sinks), false) = (&self.sinks, buffer.is_empty()) {
            sinks.write(sink, std::mem::take(buffer));
        }
    }
}
