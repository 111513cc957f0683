//! An upstream's response body: with the place on its connection, and the time that is left for it.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Version;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Sleep;

use super::incoming::BodyProgress;
use super::{BodyError, Cutoff};
use crate::upstream::HttpSender;

/// The body of an upstream's response.
#[derive(Debug)]
pub struct UpstreamBody {
    body: Incoming,
    http2: bool,
    timers: Option<Box<Timers>>,
    /// The place on the upstream connection, until the body ends. Finished when the body has ended, and dropped
    /// unfinished when it is cut.
    sender: Option<HttpSender>,
    /// How far the request's body has come.
    upload: Rc<BodyProgress>,
    /// Trailers end here: HTTP/1 servers may send them only where they are enabled.
    drop_trailers: bool,
}

/// Time limits of the rest of a response.
#[derive(Debug)]
pub struct Timers {
    /// The end of the whole response.
    pub deadline: Option<Pin<Box<Sleep>>>,
    /// The time allowed between two frames.
    pub idle: Option<(std::time::Duration, Pin<Box<Sleep>>)>,
}

impl UpstreamBody {
    /// A body that comes on the connection of `sender`.
    pub fn new(body: Incoming, sender: HttpSender, upload: Rc<BodyProgress>) -> Self {
        Self {
            body,
            http2: sender.version() == Version::HTTP_2,
            drop_trailers: !sender.carries_trailers(),
            timers: None,
            sender: Some(sender),
            upload,
        }
    }

    /// Limits the time that is left for the body.
    pub fn limit(&mut self, timers: Box<Timers>) {
        self.timers = Some(timers);
    }

    /// Gives the body up for another attempt. The connection serves on only if there is nothing left to read.
    pub fn discard(mut self) {
        if self.upload.complete.get()
            && self.body.is_end_stream()
            && let Some(sender) = &mut self.sender
        {
            sender.finish();
        }
        self.close();
    }

    /// The place on the connection, which is another protocol's from now on.
    pub fn take_sender(&mut self) -> Option<HttpSender> {
        self.sender.take()
    }

    /// The body was read to its end.
    fn end(&mut self) {
        // As Envoy: what the client still sends behind its response is not forwarded.
        if !self.upload.complete.get() {
            self.upload.stopped.set(true);
        } else if let Some(sender) = &mut self.sender {
            sender.finish();
        }
        self.close();
    }

    /// The body ends before its end.
    fn cut(&mut self, error: &BodyError) {
        if let Some(sender) = &mut self.sender {
            match error {
                BodyError::Peer(error) => sender.cut(Some(error)),
                BodyError::Cut => sender.cut(None),
                _ => {}
            }
        }
        self.close();
    }

    /// Gives the place on the connection up.
    fn close(&mut self) {
        self.timers = None;
        self.sender = None;
    }

    /// True if hyper ends a body that a reset with NO_ERROR has cut. A server resets its stream so after a
    /// complete response, to stop an upload (RFC 9113 section 8.1), but hyper does not tell that it was complete.
    fn is_cut(&self) -> bool {
        self.http2
            && !self.body.is_end_stream()
            && match self.body.size_hint().exact() {
                Some(missing) => missing > 0,
                None => self.upload.complete.get(),
            }
    }

    fn poll_timers(&mut self, cx: &mut Context<'_>) -> Option<BodyError> {
        let timers = self.timers.as_mut()?;
        if let Some(deadline) = &mut timers.deadline
            && deadline.as_mut().poll(cx).is_ready()
        {
            return Some(BodyError::Timeout(Cutoff::Deadline));
        }
        if let Some((_, idle)) = &mut timers.idle
            && idle.as_mut().poll(cx).is_ready()
        {
            return Some(BodyError::Timeout(Cutoff::Idle));
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

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(None) if self.is_cut() => Some(Err(BodyError::Cut)),
            Poll::Ready(frame) => frame.map(|frame| frame.map_err(BodyError::Peer)),
            Poll::Pending => match self.poll_timers(cx) {
                Some(error) => Some(Err(error)),
                None => return Poll::Pending,
            },
        };
        match &frame {
            Some(Ok(frame)) => {
                self.touch();
                let trailers = frame.is_trailers();
                if trailers || self.body.is_end_stream() {
                    self.end();
                }
                if trailers && self.drop_trailers {
                    return Poll::Ready(None);
                }
            }
            Some(Err(error)) => self.cut(error),
            None => self.end(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for UpstreamBody {
    fn drop(&mut self) {
        // HTTP/1 stops asking once the announced length is written, and never asks for a body that the
        // protocol forbids. The end of an HTTP/2 stream may follow its last byte in a frame of its own.
        if self.sender.is_some() && (self.is_end_stream() || self.size_hint().exact() == Some(0)) {
            self.end();
        }
    }
}
