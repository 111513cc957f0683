//! The client's body on its way upstream: counted, never kept.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::BodyError;
use crate::telemetry::stream_info::ByteCount;

/// A filter's answer, of a type that the layer above knows.
pub type Answer = Box<dyn Any>;

/// How far the client's body has come, seen by the handler while the upstream connection polls the body.
#[derive(Debug, Default)]
pub struct BodyProgress {
    /// The last byte, or the trailers, were taken.
    pub complete: Cell<bool>,
    /// The client broke off.
    pub failed: Cell<bool>,
    /// The response has ended: the rest is not wanted any more.
    pub stopped: Cell<bool>,
    /// A filter watches the body, and may answer.
    pub filtered: Cell<bool>,
    /// What a filter that saw the body answers.
    answered: RefCell<Option<Answer>>,
    /// Who waits for the end of the body, when time limits begin, or for a reply.
    waiter: RefCell<Option<Waker>>,
}

impl BodyProgress {
    /// True if the body is complete; else the task is woken when it is.
    pub fn poll_complete(&self, cx: &Context<'_>) -> bool {
        if !self.complete.get() {
            *self.waiter.borrow_mut() = Some(cx.waker().clone());
        }
        self.complete.get()
    }

    /// True if a filter has answered; else the task is woken when one does.
    #[inline]
    pub fn poll_answered(&self, cx: &Context<'_>) -> bool {
        if !self.filtered.get() {
            return false;
        }
        let answered = self.answered.borrow().is_some();
        if !answered {
            *self.waiter.borrow_mut() = Some(cx.waker().clone());
        }
        answered
    }

    /// Leaves a filter's reply for whoever waits for the response.
    pub fn answer(&self, answer: Answer) {
        *self.answered.borrow_mut() = Some(answer);
        self.wake();
    }

    /// The reply of a filter that saw the body, if there is one.
    pub fn take_answer(&self) -> Option<Answer> {
        self.answered.take()
    }

    fn set_complete(&self) {
        self.complete.set(true);
        self.wake();
    }

    fn wake(&self) {
        if let Some(waiter) = self.waiter.take() {
            waiter.wake();
        }
    }
}

/// A body that counts itself.
#[derive(Debug)]
pub struct CountedBody {
    inner: Incoming,
    bytes: ByteCount,
    progress: Rc<BodyProgress>,
    /// Trailers of HTTP/1 end here unless they are enabled.
    drop_trailers: bool,
    /// It comes over HTTP/2.
    http2: bool,
}

impl CountedBody {
    /// A body whose bytes are added to `bytes`.
    pub fn new(
        inner: Incoming,
        bytes: ByteCount,
        progress: Rc<BodyProgress>,
        drop_trailers: bool,
        http2: bool,
    ) -> Self {
        progress.complete.set(inner.is_end_stream());
        Self {
            inner,
            bytes,
            progress,
            drop_trailers,
            http2,
        }
    }

    /// Ends the body before its trailers.
    pub fn drop_trailers(&mut self) {
        self.drop_trailers = true;
    }

    /// Takes the next frame.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.progress.stopped.get() {
            return Poll::Ready(Some(Err(BodyError::Aborted)));
        }
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.bytes.set(self.bytes.get() + data.len() as u64);
                }
                if self.inner.is_end_stream() || frame.is_trailers() {
                    self.progress.set_complete();
                }
            }
            Some(Err(_)) => self.progress.failed.set(true),
            // hyper ends a body that a reset with NO_ERROR has cut as if it were whole. Only an upstream may
            // end its upload so (RFC 9113 section 8.1): from a client it is no end of a request.
            None if self.http2 && !self.inner.is_end_stream() => {
                self.progress.failed.set(true);
                return Poll::Ready(Some(Err(BodyError::Cut)));
            }
            None => self.progress.set_complete(),
        }
        if self.drop_trailers && matches!(&frame, Some(Ok(frame)) if frame.is_trailers()) {
            return Poll::Ready(None);
        }
        Poll::Ready(frame.map(|frame| frame.map_err(BodyError::Peer)))
    }

    /// True if nothing is left.
    pub fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    /// What is known of the length.
    pub fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
