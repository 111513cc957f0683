//! One HTTP connection of a pool: handshake, driving, streams.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use http::header::UPGRADE;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};

use super::circuit_breaker::Permit;
use super::connect::{ConnectError, ConnectionFacts, TlsWishes, connect};
use super::connection_pool::{Pool, PoolProtocol};
use super::outlier_detection::Outcome;
use super::{ClusterCore, Host};
use crate::body::RequestBody;
use crate::config::cluster::{Cluster, HeaderCase};
use crate::framing;
use crate::shared::TransportSocket;
use crate::telemetry::stats::Gauge;
use crate::telemetry::stream_info::UpstreamConnection;
use crate::tls::client::UpstreamIo;

/// Frames of HTTP/2 that we accept from a server.
const FRAME_BYTES_MAX: u32 = 64 * 1024;

/// Buffers of HTTP/1 connections grow up to this, in bytes, or what headers may need; less where the cluster limits them,
/// but what hyper asks for at least.
const HTTP1_BUFFER_BYTES: std::ops::RangeInclusive<usize> = 8 * 1024..=64 * 1024;

/// What may wait to be sent on a stream of HTTP/2, in bytes; less where the cluster limits it, but one frame.
const HTTP2_SEND_BYTES: std::ops::RangeInclusive<usize> = 16 * 1024..=1024 * 1024;

/// A place on a connection for one request.
#[derive(Debug)]
pub(super) enum Connection {
    Http1(Rc<Http1Connection>),
    Http2(Http2Stream),
}

/// An HTTP/1 connection.
#[derive(Debug)]
pub(super) struct Http1Connection {
    /// `None` once the connection is to end.
    sender: RefCell<Option<http1::SendRequest<RequestBody>>>,
    pub(super) facts: Rc<ConnectionFacts>,
    pub(super) created: Instant,
    requests: Cell<u32>,
    requests_max: u32,
    /// Trailers are enabled.
    trailers: bool,
    /// The request is over, but hyper is not ready yet: the driver looks after each step.
    returning: Cell<bool>,
    /// The connection is to end as it is, whatever is under way on it.
    abandoned: Cell<bool>,
    /// The driver's task.
    driver: RefCell<Option<Waker>>,
}

/// An HTTP/2 connection.
#[derive(Debug)]
pub(super) struct Http2Connection {
    /// `None` once no more streams are opened; hyper then ends the connection after the last one.
    sender: RefCell<Option<http2::SendRequest<RequestBody>>>,
    pub(super) facts: Rc<ConnectionFacts>,
    pub(super) created: Instant,
    active: Cell<u32>,
    requests: Cell<u32>,
    requests_max: u32,
    streams_max: u32,
    /// What the peer allows, updated by the driver.
    peer_streams_max: Cell<usize>,
    /// When the last stream ended.
    idle_since: Cell<Instant>,
    pool: std::rc::Weak<Pool>,
}

/// A stream of an HTTP/2 connection.
#[derive(Debug)]
pub(super) struct Http2Stream {
    pub(super) connection: Rc<Http2Connection>,
    sender: http2::SendRequest<RequestBody>,
}

impl Drop for Http2Stream {
    fn drop(&mut self) {
        let connection = &self.connection;
        connection.active.set(connection.active.get() - 1);
        if connection.active.get() == 0 {
            connection.idle_since.set(Instant::now());
        }
        if let Some(pool) = connection.pool.upgrade() {
            pool.offer_streams(connection);
        }
    }
}

/// The result of connecting, with the future that moves its bytes.
pub(super) enum Established {
    Http1(Rc<Http1Connection>, Http1Driver),
    Http2(Rc<Http2Connection>, Http2Driver),
}

/// Boxed, because hyper does not name the type that upgrades need.
pub(super) struct Http1Driver(Pin<Box<dyn Future<Output = hyper::Result<()>>>>);

pub(super) struct Http2Driver(
    Box<http2::Connection<TokioIo<UpstreamIo>, RequestBody, LocalExecutor>>,
);

/// Runs hyper's tasks on the worker that asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct LocalExecutor;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, task: F) {
        tokio::task::spawn_local(task);
    }
}

/// Connects and starts HTTP.
pub(super) async fn establish(
    pool: &Rc<Pool>,
    cluster: &ClusterCore,
    host: &Rc<Host>,
    permit: Permit,
) -> Result<Established, ConnectError> {
    let alpn: &[&[u8]] = match pool.key.protocol {
        PoolProtocol::Http1 => &[b"http/1.1"],
        PoolProtocol::Http2 => &[b"h2"],
        PoolProtocol::Auto => &[b"h2", b"http/1.1"],
    };
    let wishes = TlsWishes {
        server_name: pool.key.sni.as_deref(),
        alpn_fallback: alpn,
    };
    let (io, facts) = connect_host(cluster, host, wishes, permit).await?;
    let negotiated_h2 = facts
        .info
        .tls
        .as_ref()
        .is_some_and(|tls| tls.alpn.as_deref() == Some(b"h2".as_slice()));
    let http2 = match pool.key.protocol {
        PoolProtocol::Http1 => false,
        PoolProtocol::Http2 => true,
        PoolProtocol::Auto => negotiated_h2,
    };
    let options = &cluster.config.http;
    let requests_max = options.max_requests_per_connection.unwrap_or(u32::MAX);
    if http2 {
        cluster.cells.upstream_cx_http2_total.inc();
        let started = start_http2(io, facts, &cluster.config, requests_max, pool).await;
        return started.map_err(handshake_failed);
    }
    cluster.cells.upstream_cx_http1_total.inc();
    start_http1(io, facts, &cluster.config, requests_max)
        .await
        .map_err(handshake_failed)
}

/// Connects to a host, counting the attempt and its outcome.
pub(super) async fn connect_host<'h>(
    cluster: &ClusterCore,
    host: &'h Rc<Host>,
    mut wishes: TlsWishes<'h>,
    permit: Permit,
) -> Result<(UpstreamIo, Rc<ConnectionFacts>), ConnectError> {
    let cells = &cluster.cells;
    cells.upstream_cx_total.inc();
    let active = Gauge::new(cells.clone(), |cells| &cells.upstream_cx_active);
    let transport = cluster.config.socket_for(&host.endpoint.metadata);
    let remote = host.endpoint.address;
    if let TransportSocket::Tls(tls) = transport
        && tls.auto_host_sni()
        && !host.endpoint.hostname.is_empty()
    {
        wishes.server_name = Some(&host.endpoint.hostname);
    }
    match connect(&cluster.config, remote, transport, &wishes).await {
        Ok((io, local, tls)) => {
            let facts = ConnectionFacts {
                info: Rc::new(UpstreamConnection { local, remote, tls }),
                _permit: permit,
                _active: active,
            };
            Ok((io, Rc::new(facts)))
        }
        Err(error) => {
            cells.upstream_cx_connect_fail.inc();
            if error == ConnectError::Timeout {
                cells.upstream_cx_connect_timeout.inc();
            }
            Err(error)
        }
    }
}

async fn start_http1(
    io: UpstreamIo,
    facts: Rc<ConnectionFacts>,
    cluster: &Cluster,
    requests_max: u32,
) -> hyper::Result<Established> {
    let options = &cluster.http.http1;
    let buffer = bounded(cluster.buffer_limit_bytes, &HTTP1_BUFFER_BYTES);
    let mut builder = http1::Builder::new();
    builder
        .max_headers(options.max_headers_count as usize)
        .max_buf_size((options.max_headers_bytes as usize).max(buffer));
    match options.header_case {
        HeaderCase::Lower => {}
        HeaderCase::Title => {
            builder.title_case_headers(true);
        }
        HeaderCase::Preserve => {
            builder.preserve_header_case(true);
        }
    }
    let (sender, connection) = builder.handshake(TokioIo::new(io)).await?;
    let connection_state = Http1Connection {
        sender: RefCell::new(Some(sender)),
        facts,
        created: Instant::now(),
        requests: Cell::new(0),
        requests_max,
        trailers: options.trailers,
        returning: Cell::new(false),
        abandoned: Cell::new(false),
        driver: RefCell::default(),
    };
    Ok(Established::Http1(
        Rc::new(connection_state),
        Http1Driver(Box::pin(connection.with_upgrades())),
    ))
}

async fn start_http2(
    io: UpstreamIo,
    facts: Rc<ConnectionFacts>,
    cluster: &Cluster,
    requests_max: u32,
    pool: &Rc<Pool>,
) -> hyper::Result<Established> {
    let options = &cluster.http.http2;
    let mut builder = http2::Builder::new(LocalExecutor);
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(options.stream_window)
        .initial_connection_window_size(options.connection_window)
        .max_frame_size(FRAME_BYTES_MAX)
        .max_send_buf_size(bounded(cluster.buffer_limit_bytes, &HTTP2_SEND_BYTES))
        .max_header_list_size(options.max_headers_bytes);
    if let Some((interval, timeout)) = options.keepalive {
        builder
            .keep_alive_interval(interval)
            .keep_alive_timeout(timeout);
    }
    let (sender, connection) = builder.handshake(TokioIo::new(io)).await?;
    let connection_state = Http2Connection {
        sender: RefCell::new(Some(sender)),
        facts,
        created: Instant::now(),
        active: Cell::new(0),
        requests: Cell::new(0),
        requests_max,
        streams_max: options.max_concurrent_streams,
        peer_streams_max: Cell::new(connection.current_max_send_streams()),
        idle_since: Cell::new(Instant::now()),
        pool: Rc::downgrade(pool),
    };
    Ok(Established::Http2(
        Rc::new(connection_state),
        Http2Driver(Box::new(connection)),
    ))
}

fn bounded(limit: u32, range: &std::ops::RangeInclusive<usize>) -> usize {
    (limit as usize).clamp(*range.start(), *range.end())
}

fn handshake_failed(error: hyper::Error) -> ConnectError {
    ConnectError::Protocol(error.to_string().into())
}

impl Http1Driver {
    /// Moves the connection's bytes to its end, and gives it back to the pool after each request.
    pub(super) async fn drive(mut self, pool: &Rc<Pool>, state: &Rc<Http1Connection>) {
        poll_fn(|cx| {
            if state.is_abandoned(cx) {
                return Poll::Ready(());
            }
            let step = self.0.as_mut().poll(cx);
            if step.is_pending() && state.returning.get() && state.is_ready() {
                state.returning.set(false);
                pool.offer(state.clone());
            }
            step.map(log_end)
        })
        .await;
    }
}

impl Http2Driver {
    /// Moves the connection's bytes to its end; new room is offered to those who wait.
    pub(super) async fn drive(mut self, pool: &Rc<Pool>, state: &Rc<Http2Connection>) {
        poll_fn(|cx| {
            let step = Pin::new(&mut *self.0).poll(cx);
            if step.is_pending() {
                let allowed = self.0.current_max_send_streams();
                if state.peer_streams_max.replace(allowed) < allowed {
                    pool.offer_streams(state);
                }
            }
            step.map(log_end)
        })
        .await;
    }
}

fn log_end(result: hyper::Result<()>) {
    if let Err(error) = result {
        tracing::debug!(%error, "upstream connection ended");
    }
}

impl Http1Connection {
    /// True if hyper would take a request now.
    pub(super) fn is_ready(&self) -> bool {
        self.sender
            .borrow()
            .as_ref()
            .is_some_and(http1::SendRequest::is_ready)
    }

    /// Ends the connection: hyper does when there is nothing more to come.
    pub(super) fn close(&self) {
        self.sender.take();
    }

    /// Ends the connection at once: the driver drops it, with what hyper still reads or writes.
    fn abandon(&self) {
        self.close();
        self.abandoned.set(true);
        if let Some(driver) = self.driver.take() {
            driver.wake();
        }
    }

    /// True once abandoned; else the task is woken when it is.
    fn is_abandoned(&self, cx: &Context<'_>) -> bool {
        let mut driver = self.driver.borrow_mut();
        if !driver
            .as_ref()
            .is_some_and(|known| known.will_wake(cx.waker()))
        {
            *driver = Some(cx.waker().clone());
        }
        self.abandoned.get()
    }

    /// True after `max_requests_per_connection`.
    pub(super) fn spent(&self) -> bool {
        self.requests.get() >= self.requests_max
    }

    /// The request is over: back to the pool now, or as soon as hyper is ready. Dropping the sender closes the
    /// connection.
    fn release(self: &Rc<Self>, host: &Host, pool: &Rc<Pool>) {
        if self.spent() {
            host.cells().upstream_cx_max_requests.inc();
            self.close();
        } else if self.is_ready() {
            pool.offer(self.clone());
        } else {
            self.returning.set(true);
        }
    }
}

impl Http2Connection {
    /// True if one more stream may be opened.
    pub(super) fn has_room(&self) -> bool {
        let active = self.active.get();
        active < self.streams_max
            && (active as usize) < self.peer_streams_max.get()
            && self.requests.get() < self.requests_max
            && self
                .sender
                .borrow()
                .as_ref()
                .is_some_and(http2::SendRequest::is_ready)
    }

    /// Reserves a stream, if there is room.
    pub(super) fn open_stream(self: &Rc<Self>) -> Option<Http2Stream> {
        let sender = self.sender.borrow().clone().filter(|_| self.has_room())?;
        self.active.set(self.active.get() + 1);
        self.requests.set(self.requests.get() + 1);
        if self.requests.get() == self.requests_max {
            if let Some(pool) = self.pool.upgrade() {
                pool.cells().upstream_cx_max_requests.inc();
            }
            self.close();
        }
        Some(Http2Stream {
            connection: self.clone(),
            sender,
        })
    }

    /// No more streams; the connection ends after the last one.
    pub(super) fn close(&self) {
        self.sender.take();
    }

    /// Since when nothing happens.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        (self.active.get() == 0).then(|| self.idle_since.get())
    }
}

/// Sends one request on a connection. The caller keeps it until the response has ended.
///
/// An HTTP/1 connection goes back to its pool only if the exchange is [finished](Self::finish) when the sender is
/// dropped; else it is closed, because what comes next on it could belong to either message. hyper, which counts
/// the bytes of both, has the last word: it must be ready for a further request.
#[derive(Debug)]
pub struct HttpSender {
    connection: Connection,
    /// Both messages were whole.
    finished: bool,
    /// No further request may follow on this HTTP/1 connection.
    last: bool,
    /// The stream of an HTTP/2 request has ended already, other than by a reset of ours.
    over: bool,
    host: Rc<Host>,
    pool: Rc<Pool>,
    _permit: Permit,
    _active: Gauge,
}

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct SendError {
    /// What kind of failure it is.
    pub kind: SendFailure,
    /// The request, if nothing of it was sent: it may be sent elsewhere whatever its method.
    pub request: Option<Box<Request<RequestBody>>>,
    /// What hyper says.
    #[source]
    pub error: hyper::Error,
}

/// Kinds of failure, as retries and response flags tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendFailure {
    /// The connection was gone before anything was sent.
    NotSent,
    /// The server refused the stream unprocessed (`REFUSED_STREAM`).
    Refused,
    /// The server reset the stream before the response's headers (flag UR).
    Reset,
    /// The connection ended before the response's headers (flag UC).
    ConnectionTermination,
    /// What came is not HTTP (flag UPE).
    Protocol,
    /// The client's body failed (flag DR or DC).
    RequestBody,
}

impl HttpSender {
    pub(super) fn new(
        connection: Connection,
        host: &Rc<Host>,
        pool: &Rc<Pool>,
        permit: Permit,
    ) -> Self {
        let cells = host.cells();
        cells.upstream_rq_total.inc();
        host.state.active.set(host.active_requests() + 1);
        Self {
            connection,
            finished: false,
            last: false,
            over: false,
            host: host.clone(),
            pool: pool.clone(),
            _permit: permit,
            _active: Gauge::new(cells.clone(), |cells| &cells.upstream_rq_active),
        }
    }

    /// The protocol that the request will travel on.
    pub fn version(&self) -> http::Version {
        match self.connection {
            Connection::Http1(_) => http::Version::HTTP_11,
            Connection::Http2(_) => http::Version::HTTP_2,
        }
    }

    /// True if trailers pass: always over HTTP/2, where they are enabled over HTTP/1.
    pub fn carries_trailers(&self) -> bool {
        match &self.connection {
            Connection::Http1(connection) => connection.trailers,
            Connection::Http2(_) => true,
        }
    }

    /// Says that the response was read to its end and that the request's body was taken to its end.
    pub fn finish(&mut self) {
        self.finished = true;
    }

    /// What is known about the connection.
    pub fn facts(&self) -> &Rc<ConnectionFacts> {
        match &self.connection {
            Connection::Http1(connection) => &connection.facts,
            Connection::Http2(stream) => &stream.connection.facts,
        }
    }

    /// The host at its other end.
    pub fn host(&self) -> &Rc<Host> {
        &self.host
    }

    /// Sends the request; resolves with the head of the response.
    ///
    /// # Errors
    /// When there is no response, see [`SendFailure`].
    pub async fn send(
        &mut self,
        mut request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, SendError> {
        if !self.carries_trailers() {
            request.body_mut().drop_trailers();
        }
        let result = match &mut self.connection {
            Connection::Http1(connection) => {
                connection.requests.set(connection.requests.get() + 1);
                // Whether it is granted or not, the other side may have stopped reading requests
                // (RFC 9110 section 7.8).
                self.last = request.headers().contains_key(UPGRADE);
                let pending = connection
                    .sender
                    .borrow_mut()
                    .as_mut()
                    .map(|s| s.try_send_request(request));
                let pending = pending
                    .expect("only a connection that is not handed out again loses its sender");
                pending.await.inspect(|response| {
                    self.last |= framing::ends_connection(response.version(), response.headers());
                })
            }
            Connection::Http2(stream) => {
                let sender = &mut stream.sender;
                sender.try_send_request(request).await
            }
        };
        result.map_err(|mut failed| {
            let request = failed.take_message().map(Box::new);
            let error = failed.into_error();
            let kind = classify(&error, request.is_some());
            self.note_end(kind);
            SendError {
                kind,
                request,
                error,
            }
        })
    }

    /// The response broke off; without an error of hyper's the server has reset the stream in order.
    pub fn cut(&mut self, error: Option<&hyper::Error>) {
        self.note_end(error.map_or(SendFailure::Reset, |error| classify(error, false)));
    }

    /// Tells the host's outlier detection what happened.
    pub fn record(&self, outcome: Outcome) {
        self.host.record(outcome);
    }

    /// Counts as Envoy: a connection that ends resets nothing, and HTTP/1 knows no resets.
    fn note_end(&mut self, kind: SendFailure) {
        match kind {
            SendFailure::Reset => self.host.cells().upstream_rq_rx_reset.inc(),
            SendFailure::NotSent | SendFailure::Refused | SendFailure::ConnectionTermination => {}
            // The library resets the stream, or does when this is dropped.
            SendFailure::Protocol | SendFailure::RequestBody => return,
        }
        self.over = true;
    }
}

impl Drop for HttpSender {
    fn drop(&mut self) {
        self.host.state.active.set(self.host.active_requests() - 1);
        match &self.connection {
            Connection::Http1(connection) if self.finished && !self.last => {
                connection.release(&self.host, &self.pool);
            }
            Connection::Http1(connection) => connection.abandon(),
            Connection::Http2(_) if self.finished || self.over => {}
            Connection::Http2(_) => self.host.cells().upstream_rq_tx_reset.inc(),
        }
    }
}

fn classify(error: &hyper::Error, unsent: bool) -> SendFailure {
    let reset = find_source::<h2::Error>(error);
    if reset.and_then(h2::Error::reason) == Some(h2::Reason::REFUSED_STREAM) {
        return SendFailure::Refused;
    }
    if unsent {
        return SendFailure::NotSent;
    }
    if error.is_user() {
        return SendFailure::RequestBody;
    }
    match reset {
        Some(reset) if reset.is_reset() && reset.is_remote() => SendFailure::Reset,
        Some(reset) if reset.is_library() => SendFailure::Protocol,
        Some(_) => SendFailure::ConnectionTermination,
        None if error.is_parse() => SendFailure::Protocol,
        None => SendFailure::ConnectionTermination,
    }
}

fn find_source<E: std::error::Error + 'static>(error: &hyper::Error) -> Option<&E> {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        source = error.source();
    }
    None
}
