//! One HTTP request and its response on their way through the connection manager.
//!
//! [`Stream`] is what filters share; [`RequestHead`] is the request as everything matches on it. The head keeps
//! `:authority` in the `host` header, whatever the protocol, so that HTTP/1 pays nothing for it.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use http::Version;
use http::header::{HOST, HeaderMap, HeaderValue};
use tokio::sync::Notify;

use super::body::incoming::BodyProgress;
use super::connection_manager::ConnectionManager;
use super::filter::chain::FilterChain;
use super::filter::state::StreamFilters;
use super::filter::{self, ReplyOrigin, Side};
use super::header_memory::Lease;
use super::route::RouteRef;
use super::server::http1_io::Exchanges;
use crate::telemetry::stats::HttpCells;

use crate::telemetry::stream_info::{ConnectionInfo, StreamInfo};
use crate::upstream::worker::{HeaderBytes, View};
use crate::worker::HttpWorker;

pub use crate::config::request::{HeaderKey, RequestHead, Scheme, is_grpc_content_type, joined};

/// A downstream HTTP connection, shared by its streams.
#[derive(Debug)]
pub struct HttpConnection {
    /// The connection below.
    pub info: Rc<ConnectionInfo>,
    /// What it is served by.
    pub hcm: Arc<ConnectionManager>,
    /// Where it is served.
    pub worker: Rc<HttpWorker>,
    /// The filters of its connection manager on this worker.
    pub(super) filters: Rc<FilterChain>,
    /// The counters of the connection manager on this worker.
    pub(super) cells: Arc<HttpCells>,
    /// Requests running.
    pub(super) active: Cell<u32>,
    /// Requests begun.
    pub(super) requests: Cell<u32>,
    /// When the last request began or ended.
    pub(super) idle_since: Cell<Instant>,
    /// No further requests are wanted.
    pub(super) draining: Cell<bool>,
    /// Wakes the driver when `max_requests_per_connection` is reached.
    pub(super) enough: Notify,
    /// New streams are refused: the client had time enough to learn that the connection ends.
    pub(super) refusing: Cell<bool>,
    /// Wakes the driver when the last request is over while streams are refused.
    pub(super) quiet: Notify,
    /// What the socket of an HTTP/1 connection knows of its requests.
    pub(super) exchanges: Arc<Exchanges>,
    /// Header bytes of requests that wait for their response.
    pub(super) header_bytes: HeaderBytes,
}

/// One request in flight: what filters read and write.
#[derive(Debug)]
pub struct Stream {
    /// The connection it came on.
    pub connection: Rc<HttpConnection>,
    /// The configuration that it keeps to its end.
    pub view: View,
    /// What is known of it, for logs, metrics and policies.
    pub info: StreamInfo,
    /// The route it matched; `None` if there is none.
    pub route: Option<RouteRef>,
    /// Who made the response, if it is the proxy's own.
    pub origin: Option<ReplyOrigin>,
    /// The connection manager's filters.
    pub(super) filters: StreamFilters,
    /// The filters of the cluster, for the attempt that runs.
    pub(super) attempt_filters: Option<Box<StreamFilters>>,
    /// `x-request-id`, if the response is to tell it.
    pub request_id: Option<HeaderValue>,
    /// The request comes from inside (`x-envoy-internal`).
    pub internal: bool,
    /// A cookie made up for consistent hashing, to be set by the response.
    pub set_cookie: Option<HeaderValue>,
    /// How far the request's body has come.
    pub(super) upload: Rc<BodyProgress>,
    /// The request's head, for responses whose header operations mention it.
    pub head_for_formats: Option<Box<RequestHead>>,
    /// Local replies tell the number of tries.
    pub(super) attempts_in_reply: bool,
    /// The client speaks HTTP/1.0 and did not ask to keep the connection.
    pub(super) closes_by_version: bool,
    /// The connection ends with this response.
    pub(super) close_after: bool,
    /// Logs and metrics were written.
    pub(super) completed: bool,
    /// The memory of the request's headers, until the response begins.
    pub(super) header_lease: Option<Lease>,
}

impl Stream {
    /// A stream that begins. `complete` says whether its request has no body.
    pub fn new(
        connection: Rc<HttpConnection>,
        view: View,
        info: StreamInfo,
        complete: bool,
    ) -> Self {
        let upload = Rc::new(BodyProgress::default());
        upload.complete.set(complete);
        Self {
            filters: StreamFilters::new(connection.filters.clone()),
            attempt_filters: None,
            upload,
            connection,
            view,
            info,
            route: None,
            origin: None,
            request_id: None,
            internal: false,
            set_cookie: None,
            head_for_formats: None,
            attempts_in_reply: false,
            closes_by_version: false,
            close_after: false,
            completed: false,
            header_lease: None,
        }
    }

    /// True if trailers end here: HTTP/1 has them only where they are enabled.
    pub(super) fn drops_trailers(&self) -> bool {
        self.is_http1() && !self.connection.hcm.http1_trailers
    }

    /// True if the client speaks HTTP/1.
    pub(super) fn is_http1(&self) -> bool {
        let version = self.info.protocol;
        version.is_none_or(|version| version < Version::HTTP_2)
    }

    /// The filters of a chain for this stream.
    pub(super) fn filters(&self, side: Side) -> Option<&StreamFilters> {
        match side {
            Side::Downstream => Some(&self.filters),
            Side::Upstream => self.attempt_filters.as_deref(),
        }
    }

    /// The same, to be changed.
    pub(super) fn filters_mut(&mut self, side: Side) -> Option<&mut StreamFilters> {
        match side {
            Side::Downstream => Some(&mut self.filters),
            Side::Upstream => self.attempt_filters.as_deref_mut(),
        }
    }

    /// True if the filter at a position works for this stream.
    #[inline]
    pub(super) fn is_filtered(&self, side: Side, position: u8) -> bool {
        let filters = self.filters(side);
        filters.is_some_and(|filters| filters.is_enabled(position))
    }

    /// Tells the cluster's filters that their attempt is over.
    pub(super) fn end_attempt(&mut self) {
        filter::run::complete(self, Side::Upstream);
        self.attempt_filters = None;
    }

    /// True while something of the request is still to come from the client.
    pub(super) fn is_uploading(&self) -> bool {
        !self.upload.complete.get()
    }

    /// Ends the request's body as it is.
    pub(super) fn stop_upload(&self) {
        self.upload.stopped.set(true);
    }

    /// Notes what logs will ask of the request, as it goes upstream.
    pub(super) fn capture_request(&mut self, head: &RequestHead) {
        self.info.authority = head.headers.get(HOST).cloned();
        self.info.original_path = match head.headers.get("x-envoy-original-path") {
            Some(path) => Some(path.clone()),
            None => HeaderValue::from_str(head.path.as_str()).ok(),
        };
        let connection = self.connection.clone();
        connection
            .hcm
            .access_logs
            .capture_request(head, &mut self.info);
    }

    /// Notes what logs will ask of the response.
    pub(super) fn capture_response(&mut self, headers: &HeaderMap) {
        let connection = self.connection.clone();
        let logs = &connection.hcm.access_logs;
        logs.capture_response(headers, &mut self.info);
    }

    /// The worker that serves it.
    pub fn worker(&self) -> &Rc<HttpWorker> {
        &self.connection.worker
    }
}
