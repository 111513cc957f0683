//! What the data plane tells about its work: access logs, metrics, traces.
//!
//! This crate does not know who serves a request, or where: workers hand it what happened.

use std::any::Any;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

// The layers below, by their short names.
use proxy_config as config;

pub mod access_log;
pub mod catalogue;
pub mod log_format;
pub mod log_sink;
pub mod peer_metadata;
pub mod prometheus;
pub mod request_metrics;
pub mod stats;
pub mod stream_info;

use log_sink::{LogSinks, SinkId};
use stats::{Cells, ClusterCells, HttpCells, ListenerCells, RbacCells, Scopes, TcpCells};

/// A buffer is handed to the writer when it is this long, or when the worker's upkeep comes by.
const LOG_BUFFER_BYTES: usize = 64 * 1024;

/// All numbers of the process, by scope.
#[derive(Debug, Default)]
pub struct Registry {
    /// Clusters, by `alt_stat_name` or name.
    pub clusters: Scopes<ClusterCells>,
    /// Connection managers, by `stat_prefix`.
    pub http: Scopes<HttpCells>,
    /// RBAC of connection managers, by their `stat_prefix`.
    pub http_rbac: Scopes<RbacCells>,
    /// RBAC of connections, by `stat_prefix`.
    pub tcp_rbac: Scopes<RbacCells>,
    /// Listeners, by address or `stat_prefix`.
    pub listeners: Scopes<ListenerCells>,
    /// TCP proxies, by `stat_prefix`.
    pub tcp: Scopes<TcpCells>,
    /// Istio's HTTP metrics, by labels.
    pub requests: Scopes<request_metrics::cells::RequestCells>,
    /// Istio's TCP metrics, by labels.
    pub connections: Scopes<request_metrics::cells::TcpCells>,
}

/// Counters and log buffers of one worker.
#[derive(Debug, Default)]
pub struct WorkerTelemetry {
    registry: Arc<Registry>,
    sinks: Option<LogSinks>,
    /// By the sinks' numbers.
    buffers: RefCell<Vec<Vec<u8>>>,
    series: request_metrics::Series,
    /// Peers that were met.
    pub peers: peer_metadata::Peers,
    scopes: RefCell<KnownScopes>,
}

/// Cells of scopes that this worker has asked for: each an `Arc` of the kind's cells.
type KnownScopes = HashMap<(ScopeKind, Arc<str>), Box<dyn Any + Send>>;

/// Kinds of scopes that a worker asks for by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum ScopeKind {
    Http,
    HttpRbac,
    TcpRbac,
    Listener,
    Tcp,
}

impl WorkerTelemetry {
    /// The part of one worker.
    pub fn new(registry: &Arc<Registry>, sinks: &LogSinks) -> Self {
        Self {
            registry: registry.clone(),
            sinks: Some(sinks.clone()),
            ..Self::default()
        }
    }

    /// New cells of a cluster for this worker. Asked for once, when the worker first uses the cluster.
    pub fn cluster_cells(&self, stat_name: &Arc<str>) -> Arc<ClusterCells> {
        self.registry.clusters.cells(stat_name)
    }

    /// This worker's cells of a connection manager. Asked for once per connection.
    pub fn http_cells(&self, stat_prefix: &Arc<str>) -> Arc<HttpCells> {
        self.scope(ScopeKind::Http, stat_prefix, |registry| &registry.http)
    }

    /// This worker's cells of the RBAC filters of a connection manager. Asked for once per filter.
    pub fn http_rbac_cells(&self, stat_prefix: &Arc<str>) -> Arc<RbacCells> {
        let kind = ScopeKind::HttpRbac;
        self.scope(kind, stat_prefix, |registry| &registry.http_rbac)
    }

    /// This worker's cells of the RBAC of connections. Asked for once per connection.
    pub fn tcp_rbac_cells(&self, stat_prefix: &Arc<str>) -> Arc<RbacCells> {
        let kind = ScopeKind::TcpRbac;
        self.scope(kind, stat_prefix, |registry| &registry.tcp_rbac)
    }

    /// This worker's cells of a listener. Asked for once per connection.
    pub fn listener_cells(&self, address: &Arc<str>) -> Arc<ListenerCells> {
        self.scope(ScopeKind::Listener, address, |registry| &registry.listeners)
    }

    /// This worker's cells of a TCP proxy. Asked for once per connection.
    pub fn tcp_cells(&self, stat_prefix: &Arc<str>) -> Arc<TcpCells> {
        self.scope(ScopeKind::Tcp, stat_prefix, |registry| &registry.tcp)
    }

    fn scope<T: Cells>(
        &self,
        kind: ScopeKind,
        name: &Arc<str>,
        scopes: fn(&Registry) -> &Scopes<T>,
    ) -> Arc<T> {
        let mut known = self.scopes.borrow_mut();
        let cells = known
            .entry((kind, name.clone()))
            .or_insert_with(|| Box::new(scopes(&self.registry).cells(name)));
        let cells = cells.downcast_ref::<Arc<T>>();
        cells
            .expect("each kind of scope has cells of one type")
            .clone()
    }

    /// What has to be done now and then: log lines to the writer, series of old clusters forgotten.
    pub fn upkeep(&self) {
        self.flush_logs();
        self.series.sweep();
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
