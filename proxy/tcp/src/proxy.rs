//! The TCP proxy filter: one downstream connection, one upstream connection, bytes both ways.

use std::cell::Cell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use smallvec::SmallVec;
use xxhash_rust::xxh64::xxh64;

use super::copy::{self, Progress};
use crate::config::error::ConfigError;
use crate::config::filter::stats::StatsConfig;
use crate::config::tcp_proxy::{self as config, WeightedCluster};
use crate::telemetry::access_log::AccessLogs;
use crate::telemetry::log_sink::LogSinks;
use crate::telemetry::request_metrics::{self, TcpReport};
use crate::telemetry::stream_info::{ResponseFlags, StreamInfo};
use crate::tls::downstream::Downstream;
use crate::upstream::worker::Worker;
use crate::upstream::{
    ConnectError, Outcome, PickContext, TcpConnectOptions, UpstreamCluster, UpstreamIo,
    UpstreamStream,
};

/// How often the bytes of a running connection are counted, as in Istio.
const REPORT_INTERVAL: Duration = Duration::from_secs(15);

/// `%CONNECTION_TERMINATION_DETAILS%` of a connection closed for idleness.
const IDLE_DETAILS: &str = "tcp_session_idle_timeout";

/// A TCP proxy with its access logs. Reads as its configuration otherwise.
#[derive(Debug)]
pub struct TcpProxy {
    /// What it is built from.
    pub config: Arc<config::TcpProxy>,
    /// Written when the connection has ended.
    pub access_logs: AccessLogs,
}

impl std::ops::Deref for TcpProxy {
    type Target = config::TcpProxy;

    fn deref(&self) -> &config::TcpProxy {
        &self.config
    }
}

impl TcpProxy {
    /// Opens the access logs of a configuration.
    ///
    /// # Errors
    /// When a log cannot be written.
    pub fn new(config: Arc<config::TcpProxy>, sinks: &LogSinks) -> Result<Self, ConfigError> {
        let access_logs = AccessLogs::new(&config.access_logs, sinks)?;
        Ok(Self {
            config,
            access_logs,
        })
    }

    fn choose(&self) -> &WeightedCluster {
        if let [only] = self.clusters.as_slice() {
            return only;
        }
        self.at(fastrand::u32(0..self.total_weight.max(1)))
    }

    fn at(&self, point: u32) -> &WeightedCluster {
        let mut left = point;
        for cluster in &self.clusters {
            if left < cluster.weight {
                return cluster;
            }
            left -= cluster.weight;
        }
        self.clusters.last().expect("a TCP proxy has a cluster")
    }
}

/// Proxies a connection to its end. What happened is left in `info`.
pub async fn run(
    downstream: Downstream,
    worker: &Rc<Worker>,
    proxy: &TcpProxy,
    stats: &[&StatsConfig],
    info: &mut StreamInfo,
) {
    let cells = worker.telemetry.tcp_cells(&proxy.stat_prefix);
    cells.downstream_cx_total.inc();
    let destination = proxy.choose();
    let view = worker.view();
    let Some(cluster) = worker.upstreams.get(worker, &view, destination.cluster) else {
        cells.downstream_cx_no_route.inc();
        info.flags.insert(ResponseFlags::NO_CLUSTER_FOUND);
        return;
    };
    info.cluster = Some(destination.cluster);
    info.cluster_name = Some(destination.name.clone());
    // A connection may last for days; the configuration of its first moment need not.
    drop(view);
    let Some(upstream) = connect(&cluster, proxy, destination, info).await else {
        return;
    };
    let mut reports: SmallVec<[TcpReport; 1]> = stats
        .iter()
        .map(|stats| request_metrics::tcp_opened(stats, &worker.telemetry, info))
        .collect();
    let mut counted = Counted::default();
    let mut count = |info: &StreamInfo| {
        let (received, sent) = (info.bytes_received.get(), info.bytes_sent.get());
        let (new_received, new_sent) = (received - counted.received, sent - counted.sent);
        cells.downstream_cx_rx_bytes_total.add(new_received);
        cells.downstream_cx_tx_bytes_total.add(new_sent);
        cluster.cells().upstream_cx_tx_bytes_total.add(new_received);
        cluster.cells().upstream_cx_rx_bytes_total.add(new_sent);
        for report in &mut reports {
            report.progress(received, sent);
        }
        counted = Counted { received, sent };
    };
    let held = info.connection.buffer_limit_bytes;
    let held = held.min(cluster.config().buffer_limit_bytes);
    relay(downstream, upstream, proxy, held, info, &mut count).await;
    count(info);
    if info.connection_termination_details.as_deref() == Some(IDLE_DETAILS) {
        cells.idle_timeout.inc();
    }
}

/// Bytes that counters have seen already.
#[derive(Default)]
struct Counted {
    received: u64,
    sent: u64,
}

async fn connect(
    cluster: &Rc<UpstreamCluster>,
    proxy: &TcpProxy,
    destination: &WeightedCluster,
    info: &mut StreamInfo,
) -> Option<UpstreamStream> {
    let connection = info.connection.clone();
    let context = PickContext {
        hash: proxy
            .hash_source_ip
            .then(|| hash_ip(connection.remote.ip())),
        metadata_match: destination.metadata_match.as_ref(),
        original_destination: connection.original_destination,
        ..PickContext::default()
    };
    for _ in 0..proxy.connect_attempts {
        let Ok(host) = cluster.pick(&context) else {
            info.flags.insert(ResponseFlags::NO_HEALTHY_UPSTREAM);
            return None;
        };
        info.attempts += 1;
        info.upstream_host = Some(host.address());
        match cluster.tcp(&host, &TcpConnectOptions::default()).await {
            Ok(stream) => {
                host.record(Outcome::ConnectedFinal);
                info.upstream_local = Some(stream.facts.info.local);
                info.upstream_connection = Some(stream.facts.info.clone());
                info.upstream_endpoint = Some(host.named().clone());
                info.flags = ResponseFlags::default();
                return Some(stream);
            }
            Err(error) => failed(&error, info),
        }
        if info.flags.contains(ResponseFlags::UPSTREAM_OVERFLOW) {
            return None;
        }
        host.record(Outcome::LocalFailure);
    }
    if proxy.connect_attempts > 1 {
        info.flags
            .insert(ResponseFlags::UPSTREAM_RETRY_LIMIT_EXCEEDED);
    }
    None
}

fn failed(error: &ConnectError, info: &mut StreamInfo) {
    if error.is_overflow() {
        info.flags.insert(ResponseFlags::UPSTREAM_OVERFLOW);
        return;
    }
    info.flags
        .insert(ResponseFlags::UPSTREAM_CONNECTION_FAILURE);
    info.upstream_transport_failure = Some(error.transport_failure_reason().into());
}

async fn relay(
    downstream: Downstream,
    upstream: UpstreamStream,
    proxy: &TcpProxy,
    held: u32,
    info: &mut StreamInfo,
    count: &mut impl FnMut(&StreamInfo),
) {
    let (received, sent) = (info.bytes_received.clone(), info.bytes_sent.clone());
    let last = Cell::new(Instant::now());
    // The facts hold the connection's place in the circuit breaker.
    let UpstreamStream { io, facts: _facts } = upstream;
    let transfer = transfer(
        downstream,
        io,
        Progress::new(&received, &last).holding(held),
        Progress::new(&sent, &last).holding(held),
    );
    let mut limits = std::pin::pin!(async {
        tokio::select! {
            () = idle(&last, proxy.idle_timeout) => Ended::Idle,
            () = elapsed(proxy.max_duration) => Ended::Duration,
        }
    });
    let mut transfer = std::pin::pin!(transfer);
    let ended = loop {
        tokio::select! {
            result = &mut transfer => break Ended::Closed(result),
            ended = &mut limits => break ended,
            () = tokio::time::sleep(REPORT_INTERVAL) => count(info),
        }
    };
    match ended {
        Ended::Closed(Ok(())) => {}
        Ended::Closed(Err(error)) => {
            tracing::debug!(connection = info.connection.id, %error, "connection broke");
        }
        Ended::Idle => info.connection_termination_details = Some(IDLE_DETAILS.into()),
        Ended::Duration => {
            info.flags.insert(ResponseFlags::DURATION_TIMEOUT);
            info.connection_termination_details = Some("max_connection_duration_reached".into());
        }
    }
}

enum Ended {
    Closed(std::io::Result<()>),
    Idle,
    Duration,
}

async fn transfer(
    downstream: Downstream,
    upstream: UpstreamIo,
    received: Progress<'_>,
    sent: Progress<'_>,
) -> std::io::Result<()> {
    match (downstream, upstream) {
        (Downstream::Plain(downstream), UpstreamIo::Plain(upstream)) => {
            let (prefix, downstream) = downstream.into_parts();
            copy::sockets(&downstream, &upstream, &prefix, received, sent).await
        }
        (mut downstream, mut upstream) => {
            copy::streams(&mut downstream, &mut upstream, received, sent).await
        }
    }
}

async fn idle(last: &Cell<Instant>, limit: Option<Duration>) {
    match limit {
        Some(limit) => copy::idle(last, limit).await,
        None => std::future::pending().await,
    }
}

async fn elapsed(limit: Option<Duration>) {
    match limit {
        Some(limit) => tokio::time::sleep(limit).await,
        None => std::future::pending().await,
    }
}

/// Envoy hashes the textual address.
fn hash_ip(ip: IpAddr) -> u64 {
    xxh64(ip.to_string().as_bytes(), 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ClusterId;

    #[test]
    fn weights_divide_the_range() {
        let cluster = |id, weight| WeightedCluster {
            cluster: ClusterId(id),
            name: "c".into(),
            weight,
            metadata_match: None,
        };
        let config = config::TcpProxy {
            stat_prefix: "tcp".into(),
            clusters: vec![cluster(0, 80), cluster(1, 0), cluster(2, 20)],
            total_weight: 100,
            idle_timeout: None,
            max_duration: None,
            connect_attempts: 1,
            hash_source_ip: false,
            access_logs: Vec::new(),
        };
        let proxy = TcpProxy::new(Arc::new(config), &LogSinks::new()).unwrap();
        let at = |point| proxy.at(point).cluster.0;
        assert_eq!([at(0), at(79), at(80), at(99)], [0, 0, 2, 2]);
    }
}
