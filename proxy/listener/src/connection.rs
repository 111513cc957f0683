//! One connection from its acceptance to its terminal filter.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use smallvec::SmallVec;
use tokio_rustls::StartHandshake;

use super::inspect::{FirstBytes, Fresh, Refused};
use crate::config::filter::stats::StatsConfig;
use crate::config::filter_chain::NetworkFilter;
use crate::config::match_chain;
use crate::http;
use crate::shared::{SharedChain, SharedListener, Terminal};
use crate::tcp;
use crate::tcp::proxy::TcpProxy;
use crate::tcp::rbac::Verdict;
use crate::telemetry::WorkerTelemetry;
use crate::telemetry::stats::ListenerCells;
use crate::telemetry::stream_info::{ConnectionInfo, ResponseFlags, StreamInfo, TlsInfo};
use crate::tls::context::TlsError;
use crate::tls::downstream::{Downstream, Prefixed};
use crate::tls::server::ServerTls;
use crate::tls::verify_spiffe::VerifyFailure;
use crate::worker::ListeningWorker;

/// The limit of a handshake where the chain has none.
///
/// Differs from Envoy, which then waits for ever: a client must not hold a connection without proving anything.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);

/// Serves a connection to its end.
///
/// The steps are boxed one by one: an idle connection then holds the state of its own last step only, not room
/// for the largest of all.
pub async fn run(worker: Rc<ListeningWorker>, listener: Arc<SharedListener>, fresh: Fresh) {
    let cells = worker.telemetry.listener_cells(&listener.stat_name);
    cells.downstream_cx_total.inc();
    let _active = Active::new(cells);
    let Some(ready) = Box::pin(establish(&worker, listener, fresh)).await else {
        return;
    };
    let Established {
        chain,
        downstream,
        info,
    } = ready;
    let drain = worker.listeners.chain(&chain);
    let serve: Pin<Box<dyn Future<Output = ()>>> = match &chain.terminal {
        Terminal::Http(hcm) => {
            let (hcm, graceful) = (hcm.clone(), drain.graceful.clone());
            let worker = worker.http.clone();
            Box::pin(http::server::serve(downstream, info, hcm, worker, graceful))
        }
        Terminal::Tcp(proxy) => {
            let (proxy, chain) = (proxy.clone(), chain.clone());
            Box::pin(serve_tcp(worker, chain, proxy, downstream, info))
        }
        Terminal::Close => return,
    };
    // A connection that outlives the drain of its chain is cut.
    tokio::select! {
        () = serve => {}
        () = drain.cut.cancelled() => {}
    }
}

/// A connection that has a filter chain and may pass.
struct Established {
    chain: Arc<SharedChain>,
    downstream: Downstream,
    info: Rc<ConnectionInfo>,
}

/// Listener filters, filter chain, TLS, network filters. `None` if the connection ends there.
async fn establish(
    worker: &Rc<ListeningWorker>,
    listener: Arc<SharedListener>,
    mut fresh: Fresh,
) -> Option<Established> {
    let start = Instant::now();
    let cells = worker.telemetry.listener_cells(&listener.stat_name);
    let listener = match inspect(worker, listener, &mut fresh).await {
        Ok(listener) => listener,
        Err(refused) => {
            if matches!(refused, Refused::Timeout) {
                cells.downstream_pre_cx_timeout.inc();
            }
            tracing::debug!(client = %fresh.direct_remote, %refused, "connection refused");
            return None;
        }
    };
    let found = match_chain::find(
        &listener.filter_chains,
        |chain| &chain.config.matches,
        &fresh.facts(),
    );
    let Some(chain) = found.or(listener.default_filter_chain.as_ref()).cloned() else {
        cells.no_filter_chain_match.inc();
        let info = connection_info(worker, &listener, None, &fresh, None, start);
        let mut stream = stream_info(Rc::new(info));
        stream.flags.insert(ResponseFlags::NO_ROUTE_FOUND);
        stream.response_code_details = "filter_chain_not_found".into();
        listener.access_logs.write(&worker.telemetry, &stream);
        return None;
    };
    let info = connection_info(worker, &listener, Some(&chain), &fresh, None, start);
    let (downstream, tls) = match &chain.tls {
        None => {
            let plain = Prefixed::new(fresh.prefix, fresh.socket);
            (Downstream::Plain(plain), None)
        }
        Some(tls) => match handshake(tls, chain.handshake_timeout, fresh).await {
            Ok((stream, session)) => {
                cells.ssl_handshake.inc();
                (stream, Some(session))
            }
            Err(error) => {
                count_failed_handshake(&cells, &error);
                tracing::debug!(client = %info.direct_remote, %error, "TLS handshake failed");
                let mut stream = stream_info(Rc::new(info));
                stream.connection_termination_details = Some(error.to_string().into());
                listener.access_logs.write(&worker.telemetry, &stream);
                return None;
            }
        },
    };
    let info = Rc::new(ConnectionInfo { tls, ..info });
    if let Err(details) = filter(&chain.filters, &info, &worker.telemetry) {
        let mut stream = stream_info(info);
        stream.connection_termination_details = Some(details.into());
        match &chain.terminal {
            Terminal::Tcp(proxy) => proxy.access_logs.write(&worker.telemetry, &stream),
            _ => listener.access_logs.write(&worker.telemetry, &stream),
        }
        return None;
    }
    Some(Established {
        chain,
        downstream,
        info,
    })
}

/// As Envoy: a handshake is either a connection error or a certificate that is not accepted.
fn count_failed_handshake(cells: &ListenerCells, error: &TlsError) {
    let cell = match error.verify_failure() {
        None => &cells.ssl_connection_error,
        Some(VerifyFailure::NoCertificate) => &cells.ssl_fail_verify_no_cert,
        Some(VerifyFailure::Chain) => &cells.ssl_fail_verify_error,
        Some(VerifyFailure::San) => &cells.ssl_fail_verify_san,
        Some(VerifyFailure::Pin) => &cells.ssl_fail_verify_cert_hash,
    };
    cell.inc();
}

async fn serve_tcp(
    worker: Rc<ListeningWorker>,
    chain: Arc<SharedChain>,
    proxy: Arc<TcpProxy>,
    downstream: Downstream,
    info: Rc<ConnectionInfo>,
) {
    let mut stream = stream_info(info);
    let stats: SmallVec<[_; 1]> = chain.filters.iter().filter_map(stats_config).collect();
    tcp::proxy::run(downstream, &worker.worker, &proxy, &stats, &mut stream).await;
    proxy.access_logs.write(&worker.telemetry, &stream);
}

/// Counts a connection as open until it is dropped.
struct Active(Arc<ListenerCells>);

impl Active {
    fn new(cells: Arc<ListenerCells>) -> Self {
        cells.downstream_cx_active.inc();
        Self(cells)
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.downstream_cx_active.dec();
    }
}

/// Runs the listener's filters, and those of the listener of the original destination.
async fn inspect(
    worker: &ListeningWorker,
    listener: Arc<SharedListener>,
    fresh: &mut Fresh,
) -> Result<Arc<SharedListener>, Refused> {
    fresh.inspect(&listener).await?;
    if !listener.use_original_dst {
        return Ok(listener);
    }
    // A client that connected to the proxy itself has no original destination: it stays, and clusters of type
    // ORIGINAL_DST refuse it, so that no connection to ourselves ever begins a loop.
    let Some(original) = fresh.original_destination else {
        return Ok(listener);
    };
    match worker.listeners.by_destination(original) {
        Some(other) if !Arc::ptr_eq(&other, &listener) => {
            // Handed over once: whatever the other listener says about original destinations is not asked.
            fresh.inspect(&other).await?;
            Ok(other)
        }
        _ => Ok(listener),
    }
}

fn stats_config(filter: &NetworkFilter) -> Option<&StatsConfig> {
    match filter {
        NetworkFilter::IstioStats(stats) => Some(stats),
        NetworkFilter::Rbac(_) => None,
    }
}

/// The network filters before the terminal one. An error is the reason for closing the connection.
fn filter(
    filters: &[NetworkFilter],
    info: &ConnectionInfo,
    telemetry: &WorkerTelemetry,
) -> Result<(), String> {
    for filter in filters {
        match filter {
            NetworkFilter::Rbac(rbac) => {
                let verdict = tcp::rbac::evaluate(rbac, info);
                if rbac.rules.is_some() {
                    let cells = telemetry.tcp_rbac_cells(&rbac.stat_prefix);
                    match verdict {
                        Verdict::Allowed => cells.allowed.inc(),
                        Verdict::Denied(_) => cells.denied.inc(),
                    }
                }
                if let Verdict::Denied(details) = verdict {
                    return Err(details);
                }
            }
            // These only observe; they see the connection where its bytes are counted.
            NetworkFilter::IstioStats(_) => {}
        }
    }
    Ok(())
}

async fn handshake(
    tls: &ServerTls,
    limit: Option<Duration>,
    fresh: Fresh,
) -> Result<(Downstream, TlsInfo), TlsError> {
    let work = async {
        let (stream, info) = match fresh.first_bytes {
            FirstBytes::Tls(hello, parsed) => {
                let mut rest = fresh.prefix;
                bytes::Buf::advance(&mut rest, parsed);
                let io = Prefixed::new(rest, fresh.socket);
                tls.resume(StartHandshake::from_parts(hello.accepted, io))
                    .await?
            }
            _ => {
                tls.accept(Prefixed::new(fresh.prefix, fresh.socket))
                    .await?
            }
        };
        Ok((Downstream::Tls(stream), info))
    };
    let limited = tokio::time::timeout(limit.unwrap_or(HANDSHAKE_TIMEOUT), work).await;
    limited.unwrap_or(Err(TlsError::Timeout))
}

fn connection_info(
    worker: &ListeningWorker,
    listener: &SharedListener,
    chain: Option<&SharedChain>,
    fresh: &Fresh,
    tls: Option<TlsInfo>,
    start: Instant,
) -> ConnectionInfo {
    ConnectionInfo {
        buffer_limit_bytes: listener.buffer_limit_bytes,
        id: worker.listeners.next_connection_id(worker.index),
        direction: listener.direction,
        remote: fresh.remote,
        direct_remote: fresh.direct_remote,
        local: fresh.local,
        original_destination: fresh.original_destination,
        server_name: fresh.server_name().map(Into::into),
        tls,
        start,
        filter_chain: chain.map_or_else(|| "".into(), |chain| chain.name.clone()),
    }
}

/// What is told of the connection as a whole: it began when it was accepted.
fn stream_info(connection: Rc<ConnectionInfo>) -> StreamInfo {
    let start = connection.start;
    StreamInfo {
        start,
        ..StreamInfo::new(connection)
    }
}
