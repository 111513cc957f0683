//! One HTTP request and its response on their way through the connection manager.
//!
//! [`Stream`] is what filters share; [`RequestHead`] is the request as everything matches on it. The head keeps
//! `:authority` in the `host` header, whatever the protocol, so that HTTP/1 pays nothing for it.

use std::borrow::Cow;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use http::header::{AsHeaderName, HOST, HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Extensions, Method, Version};
use tokio::sync::Notify;

use super::body::incoming::BodyProgress;
use super::header_memory::{HeaderBytes, Lease};
use super::route::RouteRef;
use super::server::http1_io::Exchanges;
use crate::config::http::HttpConnectionManager;
use crate::telemetry::stats::HttpCells;
use crate::telemetry::stream_info::{ConnectionInfo, StreamInfo};
use crate::worker::{View, Worker};

/// A downstream HTTP connection, shared by its streams.
#[derive(Debug)]
pub struct HttpConnection {
    /// The connection below.
    pub info: Rc<ConnectionInfo>,
    /// What it is served by.
    pub hcm: Arc<HttpConnectionManager>,
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
    /// What the socket of an HTTP/1 connection knows of its requests.
    pub(super) exchanges: Arc<Exchanges>,
    /// Header bytes of requests that wait for their response.
    pub(super) header_bytes: HeaderBytes,
}

/// `:scheme`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scheme {
    /// `http`.
    #[default]
    Http,
    /// `https`.
    Https,
}

impl Scheme {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// The head of a request.
#[derive(Debug)]
pub struct RequestHead {
    /// `:method`.
    pub method: Method,
    /// `:scheme`.
    pub scheme: Scheme,
    /// `:path`; `/` for a plain CONNECT.
    pub path: PathAndQuery,
    /// All other headers; `:authority` is `host` here.
    pub headers: HeaderMap,
    /// The protocol it came by.
    pub version: Version,
    /// What the HTTP library attached (upgrades, header case).
    pub extensions: Extensions,
    /// The type asked for by `upgrade` or `:protocol`, lower case.
    pub upgrade: Option<Box<str>>,
}

impl RequestHead {
    /// `:authority`; empty if there is none.
    pub fn authority(&self) -> &[u8] {
        self.headers.get(HOST).map_or(&[], HeaderValue::as_bytes)
    }

    /// The path without the query.
    pub fn path_only(&self) -> &str {
        self.path.path()
    }

    /// The values of a header, joined by commas if there are several; `None` if it is absent.
    pub fn header(&self, name: &HeaderKey) -> Option<Cow<'_, [u8]>> {
        match name {
            HeaderKey::Name(name) => joined(&self.headers, name),
            HeaderKey::Method => Some(self.method.as_str().as_bytes().into()),
            HeaderKey::Path => Some(self.path.as_str().as_bytes().into()),
            HeaderKey::Authority => joined(&self.headers, HOST),
            HeaderKey::Scheme => Some(self.scheme.as_str().as_bytes().into()),
            HeaderKey::Protocol => self.upgrade.as_deref().map(|u| u.as_bytes().into()),
            HeaderKey::Status => None,
        }
    }

    /// A copy, without what the HTTP library attached.
    pub fn copy(&self) -> Self {
        Self {
            method: self.method.clone(),
            scheme: self.scheme,
            path: self.path.clone(),
            headers: self.headers.clone(),
            version: self.version,
            extensions: Extensions::new(),
            upgrade: self.upgrade.clone(),
        }
    }

    /// True if `content-type` says gRPC (`application/grpc`, `application/grpc+...`).
    pub fn is_grpc(&self) -> bool {
        is_grpc_content_type(&self.headers)
    }
}

/// True if `content-type` is `application/grpc` or one of its subtypes.
pub fn is_grpc_content_type(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(http::header::CONTENT_TYPE) else {
        return false;
    };
    match value.as_bytes().strip_prefix(b"application/grpc") {
        Some(rest) => rest.is_empty() || rest[0] == b'+',
        None => false,
    }
}

/// The values of a header joined by commas; borrowed if there is only one.
pub fn joined(headers: &HeaderMap, name: impl AsHeaderName) -> Option<Cow<'_, [u8]>> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?.as_bytes();
    let Some(second) = values.next() else {
        return Some(first.into());
    };
    let mut all = first.to_vec();
    for value in std::iter::once(second).chain(values) {
        all.push(b',');
        all.extend_from_slice(value.as_bytes());
    }
    Some(all.into())
}

/// The name of a header or pseudo header, resolved when a resource is applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderKey {
    /// A header proper.
    Name(HeaderName),
    /// `:method`.
    Method,
    /// `:path`.
    Path,
    /// `:authority` and `host`.
    Authority,
    /// `:scheme`.
    Scheme,
    /// `:protocol`.
    Protocol,
    /// `:status`, on responses only.
    Status,
}

impl std::str::FromStr for HeaderKey {
    type Err = http::header::InvalidHeaderName;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let lower = name.to_ascii_lowercase();
        Ok(match lower.as_str() {
            ":method" => Self::Method,
            ":path" => Self::Path,
            ":authority" | "host" => Self::Authority,
            ":scheme" => Self::Scheme,
            ":protocol" => Self::Protocol,
            ":status" => Self::Status,
            _ => Self::Name(HeaderName::from_bytes(lower.as_bytes())?),
        })
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_joined_by_commas() {
        let mut headers = HeaderMap::new();
        headers.append("x-a", HeaderValue::from_static("1"));
        assert_eq!(joined(&headers, "x-a").as_deref(), Some(&b"1"[..]));
        headers.append("x-a", HeaderValue::from_static("2"));
        assert_eq!(joined(&headers, "x-a").as_deref(), Some(&b"1,2"[..]));
        assert_eq!(joined(&headers, "x-b"), None);
    }

    #[test]
    fn grpc_is_told_by_content_type() {
        for (value, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc-web", false),
            ("application/json", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("content-type", HeaderValue::from_static(value));
            assert_eq!(is_grpc_content_type(&headers), expected, "{value}");
        }
    }
}
