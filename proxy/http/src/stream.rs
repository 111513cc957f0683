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
use super::header_memory::Lease;
use super::route::RouteRef;
use super::server::http1_io::Exchanges;
use crate::telemetry::stats::HttpCells;

use crate::telemetry::stream_info::{ConnectionInfo, StreamInfo};
use crate::upstream::worker::{HeaderBytes, View, Worker};

pub use crate::config::request::{HeaderKey, RequestHead, Scheme, is_grpc_content_type, joined};

/// A downstream HTTP connection, shared by its streams.
#[derive(Debug)]
pub struct HttpConnection {
    /// The connection below.
    pub info: Rc<ConnectionInfo>,
    /// What it is served by.
    pub hcm: Arc<ConnectionManager>,
    /// Where it is served.
    pub worker: Rc<Worker>,
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
    /// The `origin` that CORS allowed, for the response.
    pub cors: Option<super::filter::cors::Allowed>,
    /// The client told who it is, and so reads who we are (peer metadata).
    pub peer_asked: bool,
    /// Count gRPC messages of both bodies.
    pub count_grpc_messages: bool,
    /// Where the body wrappers count gRPC messages: towards the upstream, towards the client.
    pub grpc_counts: (Rc<Cell<u64>>, Rc<Cell<u64>>),
    /// `x-request-id`, if the response is to tell it.
    pub request_id: Option<HeaderValue>,
    /// The request comes from inside (`x-envoy-internal`).
    pub internal: bool,
    /// A cookie made up for consistent hashing, to be set by the response.
    pub set_cookie: Option<HeaderValue>,
    /// The request has a body that nobody has begun to read.
    pub(super) unread_body: bool,
    /// How far the request's body has come, once it is being read.
    pub(super) upload: Option<Rc<BodyProgress>>,
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
    /// A stream that begins.
    pub fn new(connection: Rc<HttpConnection>, view: View, info: StreamInfo) -> Self {
        Self {
            connection,
            view,
            info,
            route: None,
            cors: None,
            peer_asked: false,
            count_grpc_messages: false,
            grpc_counts: (Rc::default(), Rc::default()),
            request_id: None,
            internal: false,
            set_cookie: None,
            unread_body: false,
            upload: None,
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
        let http1 = self
            .info
            .protocol
            .is_some_and(|version| version < Version::HTTP_2);
        http1 && !self.connection.hcm.http1_trailers
    }

    /// True while something of the request is still to come from the client.
    pub(super) fn is_uploading(&self) -> bool {
        match &self.upload {
            Some(progress) => !progress.complete.get(),
            None => self.unread_body,
        }
    }

    /// Ends the request's body as it is.
    pub(super) fn stop_upload(&self) {
        if let Some(progress) = &self.upload {
            progress.stopped.set(true);
        }
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
    pub fn worker(&self) -> &Rc<Worker> {
        &self.connection.worker
    }
}
