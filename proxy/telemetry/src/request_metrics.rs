//! Istio's standard metrics (`istio.stats`): names, labels and buckets as Istio has them.
//!
//! A worker finds the cells of a request's label set by a small key of numbers and pointers; labels are only
//! made into text when a worker sees a combination for the first time. What the key points to is kept alive by
//! its series, so that an address never comes to mean something else.

use std::cell::RefCell;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;
use std::time::Instant;

use hashbrown::{DefaultHashBuilder, HashMap};

use super::stream_info::StreamInfo;
use crate::WorkerTelemetry;
use crate::config::cluster::Cluster;
use crate::config::filter::stats::StatsConfig;
use crate::config::listener::Direction;
use crate::config::peer::Peer;

pub mod cells;
mod labels;

use cells::{RequestCells, TcpCells};
pub use labels::{Labels, Reporter};

/// Label sets of one worker. Beyond it new combinations are not counted: labels that clients can choose must
/// not use up the memory.
const SERIES_MAX: usize = 10_000;

/// The label sets that a worker has seen.
#[derive(Debug, Default)]
pub struct Series {
    hasher: DefaultHashBuilder,
    requests: RefCell<HashMap<SeriesKey, Arc<SeriesCells<RequestCells>>>>,
    connections: RefCell<HashMap<SeriesKey, Arc<SeriesCells<TcpCells>>>>,
}

/// What tells label sets of one worker apart, without text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct SeriesKey {
    config: usize,
    reporter: Reporter,
    peer: usize,
    cluster: usize,
    /// Principals, or a host that stands in for a service.
    texts: u64,
    response_code: u16,
    flags: u32,
    grpc: bool,
    grpc_status: Option<u16>,
    mutual_tls: bool,
}

/// Cells with what their key points to.
#[derive(Debug)]
struct SeriesCells<T> {
    cells: Arc<T>,
    _peer: Option<Arc<Peer>>,
    cluster: Option<Arc<Cluster>>,
}

/// Counts a request. Called once, when it is over.
pub fn record(config: &StatsConfig, telemetry: &WorkerTelemetry, info: &StreamInfo) {
    let facts = Facts::of(config, info);
    let series = &telemetry.series;
    let found = series.find(&series.requests, &facts, || {
        telemetry.registry.requests.cells(&facts.labels())
    });
    let Some(found) = found else {
        return;
    };
    let cells = &found.cells;
    cells.requests.inc();
    let elapsed = Instant::now().duration_since(info.start);
    cells.duration_ms.observe(elapsed.as_millis() as u64);
    cells.request_bytes.observe(info.bytes_received.get());
    cells.response_bytes.observe(info.bytes_sent.get());
    if info.grpc {
        cells.request_messages.add(info.grpc_messages.0);
        cells.response_messages.add(info.grpc_messages.1);
    }
}

/// Counts a TCP connection as opened. Called when both sides are connected; the report counts the rest.
pub fn tcp_opened(
    config: &StatsConfig,
    telemetry: &WorkerTelemetry,
    info: &StreamInfo,
) -> TcpReport {
    let facts = Facts::of(config, info);
    let series = &telemetry.series;
    let found = series.find(&series.connections, &facts, || {
        telemetry.registry.connections.cells(&facts.labels())
    });
    if let Some(found) = &found {
        found.cells.opened.inc();
    }
    TcpReport {
        series: found,
        received: 0,
        sent: 0,
    }
}

/// A running TCP connection. Counts it as closed when dropped.
#[derive(Debug)]
pub struct TcpReport {
    series: Option<Arc<SeriesCells<TcpCells>>>,
    received: u64,
    sent: u64,
}

impl TcpReport {
    /// Counts the bytes that were moved since the last report: totals from and to the client.
    pub fn progress(&mut self, received: u64, sent: u64) {
        if let Some(series) = &self.series {
            series.cells.received_bytes.add(received - self.received);
            series.cells.sent_bytes.add(sent - self.sent);
        }
        (self.received, self.sent) = (received, sent);
    }
}

impl Drop for TcpReport {
    fn drop(&mut self) {
        if let Some(series) = &self.series {
            series.cells.closed.inc();
        }
    }
}

impl Series {
    /// Forgets series of clusters that were replaced or removed: their counts stay in the registry.
    pub fn sweep(&self) {
        // Nobody else holds the cluster: neither the configuration nor a request.
        fn live<T>(series: &SeriesCells<T>) -> bool {
            series
                .cluster
                .as_ref()
                .is_none_or(|cluster| Arc::strong_count(cluster) > 1)
        }
        self.requests.borrow_mut().retain(|_, series| live(series));
        self.connections
            .borrow_mut()
            .retain(|_, series| live(series));
    }

    fn find<T>(
        &self,
        map: &RefCell<HashMap<SeriesKey, Arc<SeriesCells<T>>>>,
        facts: &Facts<'_>,
        cells: impl FnOnce() -> Arc<T>,
    ) -> Option<Arc<SeriesCells<T>>> {
        let key = facts.key(&self.hasher);
        let mut map = map.borrow_mut();
        if let Some(found) = map.get(&key) {
            return Some(found.clone());
        }
        if map.len() >= SERIES_MAX {
            return None;
        }
        let series = Arc::new(SeriesCells {
            cells: cells(),
            _peer: facts.peer.cloned(),
            cluster: facts.cluster.cloned(),
        });
        map.insert(key, series.clone());
        Some(series)
    }
}

/// Everything that the labels of a request depend on, borrowed.
#[derive(Debug)]
struct Facts<'a> {
    config: &'a StatsConfig,
    info: &'a StreamInfo,
    reporter: Reporter,
    peer: Option<&'a Arc<Peer>>,
    cluster: Option<&'a Arc<Cluster>>,
    source_principal: Option<&'a str>,
    destination_principal: Option<&'a str>,
    mutual_tls: bool,
}

impl<'a> Facts<'a> {
    fn of(config: &'a StatsConfig, info: &'a StreamInfo) -> Self {
        let endpoint = info.upstream_endpoint.as_ref();
        let reporter = match info.connection.direction {
            Direction::Inbound => Reporter::Destination,
            Direction::Outbound | Direction::Unspecified => Reporter::Source,
        };
        let downstream = info.connection.tls.as_ref();
        let upstream = info
            .upstream_connection
            .as_ref()
            .and_then(|facts| facts.tls.as_ref());
        let tls = match reporter {
            Reporter::Source => upstream,
            Reporter::Destination => downstream,
        };
        let theirs = tls
            .and_then(|tls| tls.peer.as_ref()?.uri_sans.first())
            .map(|san| &**san);
        let ours = tls
            .and_then(|tls| tls.local_uri_sans.first())
            .map(|san| &**san);
        let endpoint_peer = endpoint.and_then(|host| host.endpoint.peer.as_ref());
        let (peer, source_principal, destination_principal) = match reporter {
            Reporter::Source => (info.peer.as_ref().or(endpoint_peer), ours, theirs),
            Reporter::Destination => (info.peer.as_ref(), theirs, ours),
        };
        Self {
            config,
            info,
            reporter,
            peer,
            cluster: endpoint
                .map(|host| &host.cluster)
                .or(info.upstream_cluster.as_deref()),
            source_principal,
            destination_principal,
            mutual_tls: theirs.is_some(),
        }
    }

    fn key(&self, hasher: &DefaultHashBuilder) -> SeriesKey {
        SeriesKey {
            config: std::ptr::from_ref(self.config) as usize,
            reporter: self.reporter,
            peer: self.peer.map_or(0, |peer| Arc::as_ptr(peer) as usize),
            cluster: self
                .cluster
                .map_or(0, |cluster| Arc::as_ptr(cluster) as usize),
            texts: hasher.hash_one((
                self.source_principal,
                self.destination_principal,
                self.host_fallback(),
                // Without a cluster its name is all there is.
                self.cluster.is_none().then_some(&self.info.cluster_name),
            )),
            response_code: self.info.response_code,
            flags: self.info.flags.0,
            grpc: self.info.grpc,
            grpc_status: self.info.grpc_status,
            mutual_tls: self.mutual_tls,
        }
    }

    /// The request's host, if it has to stand in for the service.
    fn host_fallback(&self) -> Option<&'a [u8]> {
        let named = self
            .cluster
            .is_some_and(|cluster| cluster.service.is_some());
        if named || !self.config.host_header_fallback || self.reporter == Reporter::Destination {
            return None;
        }
        self.info
            .authority
            .as_ref()
            .map(http::HeaderValue::as_bytes)
    }
}

#[cfg(test)]
mod tests;
