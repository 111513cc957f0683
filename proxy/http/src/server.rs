//! The server side of HTTP: one downstream connection from its first request to its end.

use std::cell::Cell;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use http::StatusCode;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use super::connection_manager::ConnectionManager;
use super::handler::handle;
use super::stream::{HttpConnection, Stream};
use crate::config::http::{Codec, HttpLimits};
use crate::telemetry::stream_info::{ConnectionInfo, ResponseFlags, StreamInfo};
use crate::upstream::worker::HeaderBytes;
use crate::worker::HttpWorker;

pub mod framing;
pub mod hpack;
pub mod http1_io;
pub mod http2_io;
pub mod http2_scan;
pub mod sniff;

use http1_io::{Exchanges, Http1Io};
use http2_io::Http2Io;
use sniff::{Rewind, Sniffed};

/// Serves a connection until it ends, or until `drain` is cancelled and its requests are answered.
pub async fn serve<I>(
    io: I,
    info: Rc<ConnectionInfo>,
    hcm: Arc<ConnectionManager>,
    worker: Rc<HttpWorker>,
    drain: CancellationToken,
) where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let alpn = info.tls.as_ref().and_then(|tls| tls.alpn.as_deref());
    let negotiated = match (hcm.codec, alpn) {
        (Codec::Http1, _) => Some(false),
        (Codec::Http2, _) | (Codec::Auto, Some(b"h2")) => Some(true),
        (Codec::Auto, _) => None,
    };
    let connection = Rc::new(HttpConnection::new(info, hcm, worker));
    let idle = connection.hcm.limits.idle_timeout;
    let (io, http2) = match negotiated {
        Some(http2) => (Rewind::new(io), http2),
        None => {
            let sniffing = sniff::sniff(io);
            let sniffed = match idle {
                Some(limit) => match tokio::time::timeout(limit, sniffing).await {
                    Ok(sniffed) => sniffed,
                    Err(_) => return connection.cells.downstream_cx_idle_timeout.inc(),
                },
                None => sniffing.await,
            };
            match sniffed {
                Some(Sniffed { io, http2 }) => (io, http2),
                None => return,
            }
        }
    };
    if http2 {
        serve_http2(io, connection, drain).await;
    } else {
        serve_http1(io, connection, drain).await;
    }
}

/// Buffers of HTTP/1 connections grow up to this, in bytes, and what headers may need; less where the listener limits
/// them.
const HTTP1_BUFFER_BYTES_MAX: usize = 64 * 1024;

/// What may wait to be sent on a stream of HTTP/2, in bytes; less where the listener limits it, but one frame.
const HTTP2_SEND_BYTES: std::ops::RangeInclusive<usize> = 16 * 1024..=400 * 1024;

async fn serve_http1<I>(io: Rewind<I>, connection: Rc<HttpConnection>, drain: CancellationToken)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    connection.cells.downstream_cx_http1_total.inc();
    let limits = &connection.hcm.limits;
    let buffer_limit = connection.info.buffer_limit_bytes as usize;
    let io = Http1Io::new(io, connection.hcm.clone(), connection.exchanges.clone());
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .half_close(false)
        .max_headers(limits.max_headers_count as usize + 1)
        .max_buf_size(
            limits.max_headers_bytes as usize
                + buffer_limit.clamp(8 * 1024, HTTP1_BUFFER_BYTES_MAX),
        )
        .preserve_header_case(connection.hcm.preserve_header_case)
        .header_read_timeout(limits.request_headers_timeout);
    let shared = connection.clone();
    let service = service_fn(move |request| {
        let shared = shared.clone();
        async move { handle(shared, request).await }
    });
    let served = builder
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades();
    let shut_down = |served: Pin<&mut _>| http1::UpgradeableConnection::graceful_shutdown(served);
    drive(
        served,
        shut_down,
        Drain::AfterNextResponse,
        &connection,
        drain,
    )
    .await;
    note_refusal(&connection);
}

/// Counts and logs a request that was refused before the service saw it. Nothing is known of it but the refusal, as
/// in Envoy's logs.
fn note_refusal(connection: &Rc<HttpConnection>) {
    if connection.exchanges.broken().is_some() {
        connection.cells.downstream_cx_protocol_error.inc();
    }
    let Some(refusal) = connection.exchanges.refused() else {
        return;
    };
    let mut info = StreamInfo::new(connection.info.clone());
    info.protocol = Some(http::Version::HTTP_11);
    info.response_code = refusal.status().as_u16();
    info.response_code_details = refusal.details().into();
    info.flags = refusal.flags();
    info.bytes_sent.set(refusal.text().len() as u64);
    let view = connection.worker.view();
    connection.begin_request(info.protocol);
    connection.count_refusal(refusal.flags(), refusal.status());
    Box::new(Stream::new(connection.clone(), view, info, true)).complete();
}

async fn serve_http2<I>(io: Rewind<I>, connection: Rc<HttpConnection>, drain: CancellationToken)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    connection.cells.downstream_cx_http2_total.inc();
    let limits = &connection.hcm.limits;
    let entries_max = limits.max_headers_count as usize;
    let buffer_limit = connection.info.buffer_limit_bytes as usize;
    let io = Http2Io::new(io, entries_max, connection.exchanges.clone());
    let mut builder = http2::Builder::new(LocalExecutor);
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(limits.initial_stream_window)
        .initial_connection_window_size(limits.initial_connection_window)
        .max_concurrent_streams(limits.max_concurrent_streams)
        .max_send_buf_size(buffer_limit.clamp(*HTTP2_SEND_BYTES.start(), *HTTP2_SEND_BYTES.end()))
        .max_header_list_size(http2_list_bytes_max(limits))
        .enable_connect_protocol();
    if let Some((interval, timeout)) = limits.http2_keepalive {
        builder
            .keep_alive_interval(interval)
            .keep_alive_timeout(timeout);
    }
    let shared = connection.clone();
    let service = service_fn(move |request| {
        let shared = shared.clone();
        async move {
            if shared.refusing.get() {
                return Err(h2::Reason::REFUSED_STREAM.into());
            }
            handle(shared, request).await
        }
    });
    let served = builder.serve_connection(TokioIo::new(io), service);
    let shut_down = |served: Pin<&mut _>| http2::Connection::graceful_shutdown(served);
    drive(served, shut_down, Drain::AtOnce, &connection, drain).await;
    if connection.exchanges.broken().is_some() {
        connection.cells.downstream_cx_protocol_error.inc();
    }
}

/// The size of a header list at which h2 stops reading it, in the counting of RFC 9113 section 6.5.2. It has room for
/// all that the limits allow, which count names and values only, and entries apart (`protocol::head`).
fn http2_list_bytes_max(limits: &HttpLimits) -> u32 {
    let entries = limits.max_headers_count.saturating_mul(32);
    let bytes = limits.max_headers_bytes.saturating_add(entries);
    bytes.saturating_add(1)
}

/// How a connection ends without losing a request that is under way to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Drain {
    /// HTTP/1 has no other means than `Connection: close` on the next response: a client may be writing a
    /// request on an idle connection while we close it.
    AfterNextResponse,
    /// HTTP/2 announces the end by GOAWAY and names the last stream by another, as soon as the client has answered the
    /// PING between them (RFC 9113 section 6.8). Envoy waits for all of `drain_timeout` instead; here it is for clients
    /// that do not answer.
    AtOnce,
}

/// Runs hyper's tasks on the worker that asked.
#[derive(Debug, Clone, Copy)]
struct LocalExecutor;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, task: F) {
        tokio::task::spawn_local(task);
    }
}

/// Drives a connection to its end: by itself, by drain, by idleness or by age.
async fn drive<C: Future<Output = hyper::Result<()>>>(
    served: C,
    shut_down: impl Fn(Pin<&mut C>),
    style: Drain,
    connection: &HttpConnection,
    drain: CancellationToken,
) {
    let mut served = pin!(served);
    let mut drained = pin!(drain.cancelled());
    let mut timer = pin!(next_end(connection));
    let mut closing = false;
    let mut grace = None;
    loop {
        tokio::select! {
            biased;
            result = served.as_mut() => {
                if let Err(error) = result {
                    tracing::debug!(%error, connection = connection.info.id, "connection ended");
                }
                return;
            }
            () = drained.as_mut(), if !connection.draining.get() => {
                connection.draining.set(true);
                if style == Drain::AtOnce && !closing {
                    closing = true;
                    shut_down(served.as_mut());
                    grace = Some(Box::pin(tokio::time::sleep(connection.hcm.limits.drain_timeout)));
                }
            }
            end = timer.as_mut(), if !closing => {
                closing = true;
                if end == End::Idle {
                    connection.cells.downstream_cx_idle_timeout.inc();
                }
                shut_down(served.as_mut());
                if style == Drain::AtOnce {
                    grace = Some(Box::pin(tokio::time::sleep(connection.hcm.limits.drain_timeout)));
                }
            }
            () = elapsed(&mut grace) => {
                grace = None;
                connection.refusing.set(true);
            }
            () = connection.quiet.notified() => {}
        }
        if connection.refusing.get() && connection.active.get() == 0 {
            // Time for the end of the last response to be sent; hyper would wait for the client without a limit.
            let flush = connection.hcm.limits.delayed_close_timeout;
            let _ = tokio::time::timeout(flush, served.as_mut()).await;
            return;
        }
    }
}

async fn elapsed(timer: &mut Option<Pin<Box<tokio::time::Sleep>>>) {
    match timer {
        Some(timer) => timer.as_mut().await,
        None => std::future::pending().await,
    }
}

/// Why a connection is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// No request for as long as `idle_timeout`.
    Idle,
    /// `max_connection_duration` is over.
    Old,
    /// It has served `max_requests_per_connection`.
    Spent,
}

/// Resolves when the connection is idle for too long, too old, or has served enough requests.
async fn next_end(connection: &HttpConnection) -> End {
    let limits: &HttpLimits = &connection.hcm.limits;
    let oldest = limits
        .max_connection_duration
        .map(|limit| connection.info.start + limit);
    let idle = limits.idle_timeout;
    loop {
        let idle_end = idle.map(|limit| connection.idle_since.get() + limit);
        let next = [oldest, idle_end].into_iter().flatten().min();
        let timer = async {
            match next {
                Some(next) => tokio::time::sleep_until(next.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = timer => {}
            () = connection.enough.notified() => return End::Spent,
        }
        let now = Instant::now();
        if oldest.is_some_and(|end| end <= now) {
            return End::Old;
        }
        let Some(limit) = idle else {
            continue;
        };
        if connection.active.get() > 0 {
            connection.idle_since.set(now);
        } else if connection.idle_since.get() + limit <= now {
            return End::Idle;
        }
    }
}

impl HttpConnection {
    /// A connection that begins.
    pub fn new(
        info: Rc<ConnectionInfo>,
        hcm: Arc<ConnectionManager>,
        worker: Rc<HttpWorker>,
    ) -> Self {
        let cells = worker.telemetry.http_cells(&hcm.stat_prefix);
        cells.downstream_cx_total.inc();
        cells.downstream_cx_active.inc();
        let filters = worker.filters.of_manager(&hcm.config, &worker.telemetry);
        Self {
            cells,
            filters,
            info,
            hcm,
            worker,
            active: Cell::new(0),
            requests: Cell::new(0),
            idle_since: Cell::new(Instant::now()),
            draining: Cell::new(false),
            enough: tokio::sync::Notify::new(),
            refusing: Cell::new(false),
            quiet: tokio::sync::Notify::new(),
            exchanges: Arc::new(Exchanges::default()),
            header_bytes: HeaderBytes::default(),
        }
    }

    /// A request begins.
    pub(super) fn begin_request(&self, version: Option<http::Version>) {
        self.exchanges.begin();
        self.cells.downstream_rq_total.inc();
        match version {
            Some(http::Version::HTTP_2) => self.cells.downstream_rq_http2_total.inc(),
            _ => self.cells.downstream_rq_http1_total.inc(),
        }
        self.cells.downstream_rq_active.inc();
        self.active.set(self.active.get() + 1);
        self.requests.set(self.requests.get() + 1);
        if self.is_spent() {
            self.enough.notify_one();
        }
    }

    /// A request is over.
    pub(super) fn end_request(&self) {
        self.exchanges.end();
        self.cells.downstream_rq_active.dec();
        self.active.set(self.active.get() - 1);
        self.idle_since.set(Instant::now());
        if self.refusing.get() {
            self.quiet.notify_one();
        }
    }

    /// Counts a request that is refused because of how it is written.
    pub(super) fn count_refusal(&self, flags: ResponseFlags, status: StatusCode) {
        if flags.contains(ResponseFlags::DOWNSTREAM_PROTOCOL_ERROR) {
            self.cells.downstream_cx_protocol_error.inc();
        }
        if status == StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE {
            self.cells.downstream_rq_too_large.inc();
        }
    }

    /// No further request is wanted: the connection drains or has served enough.
    pub(super) fn is_spent(&self) -> bool {
        let max = self.hcm.limits.max_requests_per_connection;
        self.draining.get() || (max > 0 && self.requests.get() >= max)
    }
}

impl Drop for HttpConnection {
    fn drop(&mut self) {
        self.cells.downstream_cx_active.dec();
    }
}
