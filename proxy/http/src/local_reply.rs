//! Answers that the proxy makes on its own: texts, details and the mapping to gRPC, exactly as Envoy's.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use percent_encoding::{AsciiSet, CONTROLS, percent_encode};

use crate::telemetry::stream_info::ResponseFlags;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain");
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

/// An answer of the proxy's own.
#[derive(Debug)]
pub struct LocalReply {
    /// The status.
    pub status: StatusCode,
    /// The body, or the `grpc-message`.
    pub body: Bytes,
    /// `%RESPONSE_CODE_DETAILS%`.
    pub details: Cow<'static, str>,
    /// Flags to set.
    pub flags: ResponseFlags,
    /// The gRPC status; `None` for the one that follows from the HTTP status.
    pub grpc_status: Option<u16>,
    /// Further headers.
    pub headers: HeaderMap,
    /// The connection cannot be used afterwards.
    pub close: bool,
    /// How it is written.
    pub shape: Shape,
}

/// How a local reply is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shape {
    /// As an error: gRPC clients are told by `grpc-status`.
    #[default]
    Error,
    /// As HTTP whoever asks, e.g. a redirect.
    Plain,
    /// As it is: the route's header operations are not for it, e.g. the answer to a preflight.
    Whole,
}

impl LocalReply {
    /// An answer with a text.
    pub fn new(
        status: StatusCode,
        body: impl Into<Bytes>,
        details: impl Into<Cow<'static, str>>,
        flags: ResponseFlags,
    ) -> Self {
        Self {
            status,
            body: body.into(),
            details: details.into(),
            flags,
            grpc_status: None,
            headers: HeaderMap::new(),
            close: false,
            shape: Shape::Error,
        }
    }

    /// An answer without a body.
    pub fn empty(
        status: StatusCode,
        details: impl Into<Cow<'static, str>>,
        flags: ResponseFlags,
    ) -> Self {
        Self::new(status, Bytes::new(), details, flags)
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Says how it is written.
    #[must_use]
    pub fn shaped(mut self, shape: Shape) -> Self {
        self.shape = shape;
        self
    }

    /// Says that the connection ends with this answer.
    #[must_use]
    pub fn closing(mut self) -> Self {
        self.close = true;
        self
    }

    /// The response: trailers-only for gRPC, else text. `head` is true for an answer to HEAD.
    pub fn into_response(self, grpc: bool, head: bool) -> Response<Bytes> {
        if grpc && self.shape == Shape::Error {
            return self.into_grpc();
        }
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        *headers = self.headers;
        if !self.body.is_empty() {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(self.body.len()));
            headers.entry(CONTENT_TYPE).or_insert(TEXT);
            if !head {
                *response.body_mut() = self.body;
            }
        }
        response
    }

    fn into_grpc(self) -> Response<Bytes> {
        let status = self
            .grpc_status
            .unwrap_or_else(|| grpc_status_of(self.status));
        let mut response = Response::new(Bytes::new());
        let headers = response.headers_mut();
        *headers = self.headers;
        headers.insert(CONTENT_TYPE, GRPC);
        headers.insert(GRPC_STATUS, HeaderValue::from(status));
        if !self.body.is_empty() {
            let message = percent_encode(&self.body, GRPC_MESSAGE_ESCAPES).to_string();
            if let Ok(value) = HeaderValue::from_str(&message) {
                headers.insert(GRPC_MESSAGE, value);
            }
        }
        response
    }
}

/// What <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md> escapes in `grpc-message`.
const GRPC_MESSAGE_ESCAPES: &AsciiSet = &CONTROLS.add(b'%').add(b'~');

/// The gRPC status for an HTTP status
/// (<https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md>).
pub fn grpc_status_of(status: StatusCode) -> u16 {
    match status.as_u16() {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}

/// The HTTP status for a gRPC status, as Envoy counts them.
pub fn http_status_of(grpc: u16) -> u16 {
    match grpc {
        0 => 200,
        1 => 499,
        3 | 9 | 11 => 400,
        4 => 504,
        5 => 404,
        6 | 10 => 409,
        7 => 403,
        8 => 429,
        12 => 501,
        14 => 503,
        16 => 401,
        _ => 500,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied() -> LocalReply {
        LocalReply::new(
            StatusCode::FORBIDDEN,
            "RBAC: access denied",
            "rbac_access_denied_matched_policy[none]",
            ResponseFlags::default(),
        )
    }

    #[test]
    fn text_for_http() {
        let response = denied().into_response(false, false);
        assert_eq!(response.status(), 403);
        assert_eq!(response.headers()[CONTENT_LENGTH], "19");
        assert_eq!(response.headers()[CONTENT_TYPE], "text/plain");
        assert_eq!(&response.body()[..], b"RBAC: access denied");
    }

    #[test]
    fn no_body_for_head() {
        let response = denied().into_response(false, true);
        assert_eq!(response.headers()[CONTENT_LENGTH], "19");
        assert!(response.body().is_empty());
    }

    #[test]
    fn trailers_only_for_grpc() {
        let response = denied().into_response(true, false);
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()[GRPC_STATUS], "7");
        assert_eq!(response.headers()[GRPC_MESSAGE], "RBAC: access denied");
        assert!(response.body().is_empty());
    }

    #[test]
    fn grpc_message_is_escaped() {
        let reply = LocalReply::new(
            StatusCode::BAD_REQUEST,
            "50%\n",
            "x",
            ResponseFlags::default(),
        );
        let response = reply.into_response(true, false);
        assert_eq!(response.headers()[GRPC_MESSAGE], "50%25%0A");
        assert_eq!(response.headers()[GRPC_STATUS], "13");
    }
}
