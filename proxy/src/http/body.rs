//! Bodies that stream through: nothing is collected unless a retry may need it again.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::{Empty, Full};
use pin_project_lite::pin_project;

pin_project! {
    /// The body of a request on its way upstream.
    #[project = RequestBodyProjection]
    #[derive(Debug)]
    pub enum RequestBody {
        /// No body.
        Empty { #[pin] inner: Empty<Bytes> },
        /// A body that is at hand.
        Full { #[pin] inner: Full<Bytes> },
        /// The client's body as it arrives.
        Incoming { #[pin] inner: hyper::body::Incoming },
    }
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.project() {
            RequestBodyProjection::Empty { inner } => {
                inner.poll_frame(cx).map_err(|never| match never {})
            }
            RequestBodyProjection::Full { inner } => {
                inner.poll_frame(cx).map_err(|never| match never {})
            }
            RequestBodyProjection::Incoming { inner } => inner.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty { inner } => inner.is_end_stream(),
            Self::Full { inner } => inner.is_end_stream(),
            Self::Incoming { inner } => inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty { inner } => inner.size_hint(),
            Self::Full { inner } => inner.size_hint(),
            Self::Incoming { inner } => inner.size_hint(),
        }
    }
}
