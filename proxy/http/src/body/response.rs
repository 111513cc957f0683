//! The body of a response on its way to the client.
//!
//! It owns the [`Stream`]: when the last frame is handed over, or when the client is gone and the body is
//! dropped, the stream is completed, so that logs and metrics are written exactly once.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use super::upstream::UpstreamBody;
use super::{BodyError, Cutoff};
use crate::filter::body::FilteredBody;
use crate::filter::run::Answered;
use crate::stream::Stream;
use crate::telemetry::stream_info::ResponseFlags;

/// A response body together with what must be finished after it.
#[derive(Debug)]
pub struct ResponseBody {
    source: ResponseSource,
    /// `None` once the stream is complete.
    stream: Option<Box<Stream>>,
    /// Trailers end here: HTTP/1 has them only where they are enabled.
    drop_trailers: bool,
}

/// Where a response's body comes from.
#[derive(Debug)]
pub enum ResponseSource {
    /// Bytes at hand, if there are any.
    Full(Option<Bytes>),
    /// An upstream.
    Upstream(UpstreamBody),
    /// A body that filters watch.
    Filtered(Box<FilteredBody<ResponseSource>>),
}

impl ResponseSource {
    /// Bytes at hand, possibly none.
    pub fn full(bytes: Bytes) -> Self {
        Self::Full((!bytes.is_empty()).then_some(bytes))
    }

    /// The upstream's body, below the filters.
    pub fn upstream_mut(&mut self) -> Option<&mut UpstreamBody> {
        match self {
            Self::Full(_) => None,
            Self::Upstream(body) => Some(body),
            Self::Filtered(body) => body.source_mut().upstream_mut(),
        }
    }

    /// The body without what filters put before it: for responses that have none.
    #[must_use]
    pub fn without_held(self) -> Self {
        match self {
            Self::Filtered(body) => body.into_source().without_held(),
            body => body,
        }
    }

    /// Gives the body up for another attempt.
    pub fn discard(self) {
        match self {
            Self::Full(_) => {}
            Self::Upstream(body) => body.discard(),
            Self::Filtered(body) => body.into_source().discard(),
        }
    }
}

impl Default for ResponseSource {
    /// No body.
    fn default() -> Self {
        Self::Full(None)
    }
}

impl Body for ResponseSource {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Upstream(body) => Pin::new(body).poll_frame(cx),
            Self::Filtered(body) => Pin::new(&mut **body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(bytes) => bytes.is_none(),
            Self::Upstream(body) => body.is_end_stream(),
            Self::Filtered(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Self::Upstream(body) => body.size_hint(),
            Self::Filtered(body) => body.size_hint(),
        }
    }
}

impl ResponseBody {
    /// The body of a stream's response.
    pub fn new(source: ResponseSource, stream: Box<Stream>) -> Self {
        // Replies of the proxy's own have no trailers unless a filter adds some.
        let drop_trailers = stream.drops_trailers();
        Self {
            source,
            stream: Some(stream),
            drop_trailers,
        }
    }

    /// Takes the stream, to be completed elsewhere.
    pub fn take_stream(&mut self) -> Option<Box<Stream>> {
        self.stream.take()
    }

    /// True if the proxy itself has answered.
    pub fn is_local_reply(&self) -> bool {
        let stream = self.stream.as_ref();
        stream.is_some_and(|stream| stream.origin.is_some())
    }

    fn see(&mut self, frame: &Frame<Bytes>) {
        let Some(stream) = &mut self.stream else {
            return;
        };
        if let Some(data) = frame.data_ref() {
            let sent = &stream.info.bytes_sent;
            sent.set(sent.get() + data.len() as u64);
        } else if let Some(trailers) = frame.trailers_ref()
            && stream.info.grpc
        {
            stream.info.grpc_status = grpc_status(trailers).or(stream.info.grpc_status);
        }
    }

    /// The body was read to its end.
    fn end(&mut self) {
        if let Some(stream) = &self.stream
            && stream.is_uploading()
        {
            stream.stop_upload();
        }
        self.complete();
    }

    fn complete(&mut self) {
        if let Some(stream) = self.stream.take() {
            stream.complete();
        }
    }

    /// The rest of the response is cut.
    fn cut(&mut self, error: &BodyError) {
        if let Some(stream) = &mut self.stream {
            note_cut(stream, error);
        }
        self.source = ResponseSource::default();
        self.complete();
    }
}

/// What logs are told about a response that is cut.
fn note_cut(stream: &mut Stream, error: &BodyError) {
    let info = &mut stream.info;
    let (flag, details) = match error {
        BodyError::Peer(error) => return crate::client::note_response_cut(info, error),
        BodyError::Cut => return crate::client::note_response_reset(info),
        BodyError::Timeout(Cutoff::Deadline) => {
            (ResponseFlags::UPSTREAM_REQUEST_TIMEOUT, "response_timeout")
        }
        BodyError::Timeout(Cutoff::Idle) => {
            (ResponseFlags::STREAM_IDLE_TIMEOUT, "stream_idle_timeout")
        }
        BodyError::Answered => {
            if let Some(answered) = Answered::take(&stream.upload) {
                info.flags.insert(answered.reply.flags);
                info.response_code_details = answered.reply.details;
            }
            return;
        }
        BodyError::MirrorOverflow | BodyError::Aborted => return,
    };
    info.flags.insert(flag);
    info.response_code_details = details.into();
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
        let Poll::Ready(frame) = Pin::new(&mut self.source).poll_frame(cx) else {
            return Poll::Pending;
        };
        match &frame {
            Some(Ok(frame)) => {
                self.see(frame);
                let drop_trailers = self.drop_trailers && frame.is_trailers();
                if frame.is_trailers() || self.is_end_stream() {
                    self.end();
                }
                if drop_trailers {
                    return Poll::Ready(None);
                }
            }
            Some(Err(error)) => self.cut(error),
            None => self.end(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.source.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.source.size_hint()
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
