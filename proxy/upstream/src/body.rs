//! Bodies that stream through: nothing is collected unless a retry may need it again.
//!
//! [`RequestBody`] goes upstream: nothing, the client's own body ([`incoming`]), or a body that remembers what
//! it sent ([`replay`]). What watches a body is of a layer above ([`Filtered`]).

use std::fmt::Debug;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

pub mod incoming;
pub mod replay;

use incoming::CountedBody;
use replay::{MirrorBody, ReplayBody};

/// Why a body could not be delivered to its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The peer's body broke off.
    #[error("the peer's body broke off")]
    Peer(#[from] hyper::Error),
    /// An HTTP/2 stream was reset with NO_ERROR before its end.
    #[error("the peer's body was cut by a reset")]
    Cut,
    /// The stream ran into a time limit after the response had begun.
    #[error("the stream timed out")]
    Timeout(Cutoff),
    /// A copy of a request was given up because the original outran it.
    #[error("the mirrored body exceeds its buffer")]
    MirrorOverflow,
    /// A filter answers in place of the rest.
    #[error("a filter has answered")]
    Answered,
    /// Nobody reads or writes the other end any more.
    #[error("the other end is gone")]
    Aborted,
}

/// Which time limit cut a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cutoff {
    /// Of the whole response.
    Deadline,
    /// Between two frames.
    Idle,
}

/// A request's body that passes through something of a layer above.
pub trait Filtered: Body<Data = Bytes, Error = BodyError> + Unpin + Debug {
    /// Ends the body before its trailers.
    fn drop_trailers(&mut self);
}

/// The body of a request on its way upstream.
#[derive(Debug, Default)]
pub enum RequestBody {
    /// No body.
    #[default]
    Empty,
    /// A body that is at hand.
    Full(Option<Bytes>),
    /// The client's body as it arrives.
    Incoming(CountedBody),
    /// The client's body, kept for another try.
    Replay(ReplayBody),
    /// A copy of the client's body.
    Mirror(MirrorBody),
    /// A body that filters watch.
    Filtered(Box<dyn Filtered>),
}

impl RequestBody {
    /// Ends the body before its trailers: HTTP/1 servers get them only where they are enabled.
    pub fn drop_trailers(&mut self) {
        match self {
            Self::Empty | Self::Full(_) => {}
            Self::Incoming(body) => body.drop_trailers(),
            Self::Replay(body) => body.drop_trailers(),
            Self::Mirror(body) => body.drop_trailers(),
            Self::Filtered(body) => body.drop_trailers(),
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Incoming(body) => body.poll(cx),
            Self::Replay(body) => body.poll(cx),
            Self::Mirror(body) => body.poll(cx),
            Self::Filtered(body) => Pin::new(&mut **body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) => bytes.is_none(),
            Self::Incoming(body) => body.is_end_stream(),
            Self::Replay(body) => body.is_end_stream(),
            Self::Mirror(_) => false,
            Self::Filtered(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Self::Incoming(body) => body.size_hint(),
            Self::Replay(body) => body.size_hint(),
            Self::Mirror(body) => body.size_hint(),
            Self::Filtered(body) => body.size_hint(),
        }
    }
}
