//! The body of a response on its way to the client.
//!
//! It owns the [`Stream`]: when the last frame is handed over, or when the client is gone and the body is
//! dropped, the stream is completed, so that logs and metrics are written exactly once.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Sleep;

use super::BodyError;
use super::grpc::MessageCounter;
use crate::stream::Stream;
use crate::telemetry::stream_info::ResponseFlags;
use crate::upstream::HttpSender;

/// A response body together with what must be finished after it.
#[derive(Debug)]
pub struct ResponseBody {
    kind: Kind,
    /// `None` once the stream is complete.
    stream: Option<Box<Stream>>,
    messages: Option<MessageCounter>,
    timers: Option<Box<Timers>>,
    /// The place on the upstream connection, until the body ends.
    sender: Option<HttpSender>,
    /// Trailers end here: HTTP/1 has them only where they are enabled.
    drop_trailers: bool,
}

#[derive(Debug)]
enum Kind {
    Full(Option<Bytes>),
    Http1(Incoming),
    Http2(Incoming),
}

/// Time limits of the rest of a response.
#[derive(Debug)]
pub struct Timers {
    /// The end of the whole response.
    pub deadline: Option<Pin<Box<Sleep>>>,
    /// The time allowed between two frames.
    pub idle: Option<(std::time::Duration, Pin<Box<Sleep>>)>,
}

impl ResponseBody {
    /// A body at hand, possibly empty.
    pub fn full(bytes: Bytes, stream: Box<Stream>) -> Self {
        let bytes = (!bytes.is_empty()).then_some(bytes);
        Self {
            kind: Kind::Full(bytes),
            stream: Some(stream),
            messages: None,
            timers: None,
            sender: None,
            drop_trailers: false,
        }
    }

    /// An upstream's body. The sender is finished when the body has ended, and dropped unfinished when it is cut.
    pub fn upstream(
        body: Incoming,
        stream: Box<Stream>,
        timers: Option<Box<Timers>>,
        sender: HttpSender,
    ) -> Self {
        let drop_trailers = !sender.carries_trailers() || stream.drops_trailers();
        let messages = stream
            .count_grpc_messages
            .then(|| MessageCounter::new(stream.grpc_counts.1.clone()));
        Self {
            kind: match sender.version() {
                Version::HTTP_2 => Kind::Http2(body),
                _ => Kind::Http1(body),
            },
            stream: Some(stream),
            messages,
            timers,
            sender: Some(sender),
            drop_trailers,
        }
    }

    /// No body: the stream goes on elsewhere ([`Self::take_stream`]).
    pub fn detached(stream: Box<Stream>) -> Self {
        Self::full(Bytes::new(), stream)
    }

    /// Takes the stream, to be completed elsewhere.
    pub fn take_stream(&mut self) -> Option<Box<Stream>> {
        self.stream.take()
    }

    /// The stream, unless it is complete.
    pub fn stream_mut(&mut self) -> Option<&mut Stream> {
        self.stream.as_deref_mut()
    }

    fn see(&mut self, frame: &Frame<Bytes>) {
        let Some(stream) = &mut self.stream else {
            return;
        };
        if let Some(data) = frame.data_ref() {
            let sent = &stream.info.bytes_sent;
            sent.set(sent.get() + data.len() as u64);
            if let Some(messages) = &mut self.messages {
                messages.see(data);
            }
        } else if let Some(trailers) = frame.trailers_ref()
            && stream.info.grpc
        {
            stream.info.grpc_status = grpc_status(trailers).or(stream.info.grpc_status);
        }
    }

    /// The body was read to its end.
    fn end(&mut self) {
        // As Envoy: what the client still sends behind its response is not forwarded.
        if let Some(stream) = &self.stream
            && stream.is_uploading()
        {
            stream.stop_upload();
        } else if let Some(sender) = &mut self.sender {
            sender.finish();
        }
        self.complete();
    }

    fn is_uploading(&self) -> bool {
        let stream = self.stream.as_deref();
        stream.is_some_and(Stream::is_uploading)
    }

    /// True if hyper ends a body that a reset with NO_ERROR has cut. A server resets its stream so after a
    /// complete response, to stop an upload (RFC 9113 section 8.1), but hyper does not tell that it was complete.
    fn is_cut(&self) -> bool {
        let Kind::Http2(body) = &self.kind else {
            return false;
        };
        !body.is_end_stream()
            && match body.size_hint().exact() {
                Some(missing) => missing > 0,
                None => !self.is_uploading(),
            }
    }

    fn complete(&mut self) {
        self.timers = None;
        self.sender = None;
        if let Some(stream) = self.stream.take() {
            stream.complete();
        }
    }

    /// The limit was reached: the rest of the response is cut.
    fn time_out(&mut self, flag: ResponseFlags, details: &'static str) -> BodyError {
        if let Some(stream) = &mut self.stream {
            stream.info.flags.insert(flag);
            stream.info.response_code_details = details.into();
        }
        self.complete();
        BodyError::Timeout
    }

    fn poll_timers(&mut self, cx: &mut Context<'_>) -> Option<BodyError> {
        let timers = self.timers.as_mut()?;
        if let Some(deadline) = &mut timers.deadline
            && deadline.as_mut().poll(cx).is_ready()
        {
            let flag = ResponseFlags::UPSTREAM_REQUEST_TIMEOUT;
            return Some(self.time_out(flag, "response_timeout"));
        }
        if let Some((_, idle)) = &mut timers.idle
            && idle.as_mut().poll(cx).is_ready()
        {
            let flag = ResponseFlags::STREAM_IDLE_TIMEOUT;
            return Some(self.time_out(flag, "stream_idle_timeout"));
        }
        None
    }

    fn touch(&mut self) {
        if let Some(timers) = &mut self.timers
            && let Some((limit, idle)) = &mut timers.idle
        {
            idle.as_mut().reset(tokio::time::Instant::now() + *limit);
        }
    }
}

/// `grpc-status` as a number.
pub fn grpc_status(headers: &HeaderMap) -> Option<u16> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = match &mut self.kind {
            Kind::Full(bytes) => bytes.take().map(|bytes| Ok(Frame::data(bytes))),
            Kind::Http1(body) | Kind::Http2(body) => match Pin::new(body).poll_frame(cx) {
                Poll::Ready(None) if self.is_cut() => Some(Err(BodyError::Cut)),
                Poll::Ready(frame) => frame.map(|frame| frame.map_err(BodyError::Peer)),
                Poll::Pending => match self.poll_timers(cx) {
                    Some(error) => Some(Err(error)),
                    None => return Poll::Pending,
                },
            },
        };
        match &frame {
            Some(Ok(frame)) => {
                self.see(frame);
                self.touch();
                let drop_trailers = self.drop_trailers && frame.is_trailers();
                if frame.is_trailers() || self.is_end_stream() {
                    self.end();
                }
                if drop_trailers {
                    return Poll::Ready(None);
                }
            }
            Some(Err(BodyError::Peer(error))) => {
                if let Some(stream) = &mut self.stream {
                    crate::client::note_response_cut(&mut stream.info, error);
                }
                if let Some(sender) = &mut self.sender {
                    sender.cut(Some(error));
                }
                self.complete();
            }
            Some(Err(BodyError::Cut)) => {
                if let Some(stream) = &mut self.stream {
                    crate::client::note_response_reset(&mut stream.info);
                }
                if let Some(sender) = &mut self.sender {
                    sender.cut(None);
                }
                self.complete();
            }
            Some(Err(_)) => {}
            None => self.end(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Full(bytes) => bytes.is_none(),
            Kind::Http1(body) | Kind::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Kind::Http1(body) | Kind::Http2(body) => body.size_hint(),
        }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        // HTTP/1 stops asking once the announced length is written, and never asks for a body that the
        // protocol forbids. The end of an HTTP/2 stream may follow its last byte in a frame of its own.
        if self.is_end_stream() || self.size_hint().exact() == Some(0) {
            self.end();
        }
    }
}
