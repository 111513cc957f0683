//! A body on its way past a filter.
//!
//! Each filter that watches a body stands around the source below it, so that frames pass the filters in the order
//! of their calls. A frame that a filter waits for holds back those behind it, and with them the peer.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use http_body::{Body, Frame, SizeHint};

use super::context::{BodyContext, BufferedBody, ReplyOrigin};
use super::run::Answered;
use super::state::State;
use super::{BodyEnd, BodyStep, BodyThen, Filter};
use crate::body::incoming::BodyProgress;
use crate::body::{BodyError, Filtered, RequestBody};
use crate::stream::HttpConnection;
use crate::telemetry::stream_info::DynamicMetadata;

/// How a filter watches a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// It only looks: what it changes is dropped, and the body keeps its announced length.
    Inspect,
    /// It may change the body, whose length is therefore known at its end only.
    Edit,
}

/// Which way a body goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// To the upstream.
    Request,
    /// To the client.
    Response,
}

/// A body with a filter that watches it, or with bytes that were held for a filter.
#[derive(Debug)]
pub struct FilteredBody<B> {
    /// What has passed already.
    passed: VecDeque<Frame<Bytes>>,
    source: B,
    watcher: Option<Box<Watcher>>,
    /// Nothing comes from the source any more, and the filter knows.
    ended: bool,
    drop_trailers: bool,
}

/// A filter that watches a body.
pub struct Watcher {
    /// The filter.
    pub filter: Rc<dyn Filter>,
    /// Who it is, for its replies.
    pub origin: ReplyOrigin,
    /// What it keeps about the stream.
    pub state: Option<State>,
    /// How it watches.
    pub watch: Watch,
    /// Which way the body goes.
    pub way: Way,
    /// The stream's dynamic metadata.
    pub metadata: DynamicMetadata,
    /// The connection that the stream came on.
    pub connection: Rc<HttpConnection>,
    /// Where a reply is left for the router.
    pub progress: Rc<BodyProgress>,
    /// What the filter waits for.
    pub waiting: Option<Waiting>,
}

/// What a filter waits for, with the part of the body that it holds.
pub enum Waiting {
    /// Bytes.
    Data(LocalBoxFuture<'static, BodyThen<Bytes>>, Bytes),
    /// The end.
    End(LocalBoxFuture<'static, BodyThen<BodyEnd>>, BodyEnd),
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher")
            .field("filter", &self.filter)
            .field("watch", &self.watch)
            .field("way", &self.way)
            .finish_non_exhaustive()
    }
}

impl<B: Body<Data = Bytes, Error = BodyError> + Unpin> FilteredBody<B> {
    /// A source that a filter watches. Of an empty one the filter learns at once.
    pub fn watched(source: B, watcher: Watcher) -> Self {
        let mut body = Self {
            passed: VecDeque::new(),
            source,
            watcher: Some(Box::new(watcher)),
            ended: false,
            drop_trailers: false,
        };
        if body.source.is_end_stream() {
            // A reply is found where the router looks for it.
            let _ = body.end(None);
        }
        body
    }

    /// What was held of a source, and its rest.
    pub fn held(held: BufferedBody, source: B) -> Self {
        let mut passed = VecDeque::new();
        if !held.data.is_empty() {
            passed.push_back(Frame::data(held.data));
        }
        if held.complete {
            passed.extend(held.trailers.map(Frame::trailers));
        }
        Self {
            passed,
            source,
            watcher: None,
            ended: held.complete,
            drop_trailers: false,
        }
    }

    /// The source below.
    pub fn source_mut(&mut self) -> &mut B {
        &mut self.source
    }

    /// The source below, without the filter.
    pub fn into_source(self) -> B {
        self.source
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            if let Some(frame) = self.passed.pop_front() {
                if self.drop_trailers && frame.is_trailers() {
                    continue;
                }
                return Poll::Ready(Some(Ok(frame)));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            let accepted = match self.take_waiting(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(accepted)) => accepted,
                Poll::Ready(None) => match ready!(Pin::new(&mut self.source).poll_frame(cx)) {
                    None => self.end(None),
                    Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                    Some(Ok(frame)) => self.accept(frame),
                },
            };
            if let Err(error) = accepted {
                self.ended = true;
                return Poll::Ready(Some(Err(error)));
            }
        }
    }

    /// Goes on with what the filter waited for.
    fn take_waiting(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<(), BodyError>>> {
        let Some(watcher) = &mut self.watcher else {
            return Poll::Ready(None);
        };
        match watcher.waiting.take() {
            None => Poll::Ready(None),
            Some(Waiting::Data(mut work, mut data)) => match work.as_mut().poll(cx) {
                Poll::Pending => {
                    watcher.waiting = Some(Waiting::Data(work, data));
                    Poll::Pending
                }
                Poll::Ready(then) => {
                    let before = data.clone();
                    let step = then(&mut watcher.context(), &mut data);
                    Poll::Ready(Some(self.data_done(step, before, data)))
                }
            },
            Some(Waiting::End(mut work, mut end)) => match work.as_mut().poll(cx) {
                Poll::Pending => {
                    watcher.waiting = Some(Waiting::End(work, end));
                    Poll::Pending
                }
                Poll::Ready(then) => {
                    let before = end.trailers.clone();
                    let step = then(&mut watcher.context(), &mut end);
                    Poll::Ready(Some(self.end_done(step, before, end)))
                }
            },
        }
    }

    fn accept(&mut self, frame: Frame<Bytes>) -> Result<(), BodyError> {
        let frame = match frame.into_data() {
            Ok(data) => return self.accept_data(data),
            Err(frame) => frame,
        };
        match frame.into_trailers() {
            Ok(trailers) => self.end(Some(trailers)),
            Err(_) => Ok(()),
        }
    }

    fn accept_data(&mut self, mut data: Bytes) -> Result<(), BodyError> {
        let Some(watcher) = &mut self.watcher else {
            self.passed.push_back(Frame::data(data));
            return Ok(());
        };
        let before = data.clone();
        let filter = watcher.filter.clone();
        let step = match watcher.way {
            // HTTP/2 may end a body by a frame without bytes.
            _ if data.is_empty() => BodyStep::Continue,
            Way::Request => filter.request_data(&mut watcher.context(), &mut data),
            Way::Response => filter.response_data(&mut watcher.context(), &mut data),
        };
        self.data_done(step, before, data)
    }

    fn data_done(
        &mut self,
        step: BodyStep<Bytes>,
        before: Bytes,
        data: Bytes,
    ) -> Result<(), BodyError> {
        let Some(watcher) = &mut self.watcher else {
            return Ok(());
        };
        let data = match watcher.watch {
            Watch::Inspect => before,
            Watch::Edit => data,
        };
        match step {
            BodyStep::Wait(work) => watcher.waiting = Some(Waiting::Data(work, data)),
            BodyStep::Reply(reply) => return Err(watcher.answer(reply)),
            BodyStep::Continue => {
                if !data.is_empty() {
                    self.passed.push_back(Frame::data(data));
                }
                // Whoever reads stops at the announced length: the filter learns of the end now or never.
                if self.source.is_end_stream() {
                    return self.end(None);
                }
            }
        }
        Ok(())
    }

    fn end(&mut self, trailers: Option<http::HeaderMap>) -> Result<(), BodyError> {
        let mut end = BodyEnd {
            data: Bytes::new(),
            trailers,
        };
        let Some(watcher) = &mut self.watcher else {
            self.ended = true;
            self.passed.extend(end.trailers.map(Frame::trailers));
            return Ok(());
        };
        let before = match watcher.watch {
            Watch::Inspect => end.trailers.clone(),
            Watch::Edit => None,
        };
        let filter = watcher.filter.clone();
        let step = match watcher.way {
            Way::Request => filter.request_end(&mut watcher.context(), &mut end),
            Way::Response => filter.response_end(&mut watcher.context(), &mut end),
        };
        self.end_done(step, before, end)
    }

    fn end_done(
        &mut self,
        step: BodyStep<BodyEnd>,
        before: Option<http::HeaderMap>,
        mut end: BodyEnd,
    ) -> Result<(), BodyError> {
        let Some(watcher) = &mut self.watcher else {
            return Ok(());
        };
        if watcher.watch == Watch::Inspect {
            end = BodyEnd {
                data: Bytes::new(),
                trailers: before,
            };
        }
        match step {
            BodyStep::Wait(work) => watcher.waiting = Some(Waiting::End(work, end)),
            BodyStep::Reply(reply) => {
                self.ended = true;
                return Err(watcher.answer(reply));
            }
            BodyStep::Continue => {
                self.ended = true;
                if !end.data.is_empty() {
                    self.passed.push_back(Frame::data(end.data));
                }
                self.passed.extend(end.trailers.map(Frame::trailers));
            }
        }
        Ok(())
    }

    /// What is known of the length of what is still to come.
    fn known_length(&self) -> SizeHint {
        let passed = self.passed.iter().filter_map(Frame::data_ref);
        let passed: u64 = passed.map(|data| data.len() as u64).sum();
        // Over HTTP/1 only a body of unknown length has trailers.
        if !self.drop_trailers && self.passed.iter().any(Frame::is_trailers) {
            return SizeHint::new();
        }
        if self.ended {
            return SizeHint::with_exact(passed);
        }
        let edited = self
            .watcher
            .as_ref()
            .is_some_and(|watcher| watcher.watch == Watch::Edit);
        let held = self.watcher.as_ref().and_then(|w| w.waiting.as_ref());
        let held = match held {
            Some(Waiting::Data(_, data)) => data.len() as u64,
            _ => 0,
        };
        match self.source.size_hint().exact() {
            Some(rest) if !edited => SizeHint::with_exact(passed + held + rest),
            _ => SizeHint::new(),
        }
    }
}

impl Watcher {
    fn context(&mut self) -> BodyContext<'_> {
        BodyContext {
            state: self.state.as_ref(),
            metadata: &mut self.metadata,
            connection: &self.connection,
        }
    }

    fn answer(&self, reply: Box<crate::local_reply::LocalReply>) -> BodyError {
        let origin = self.origin;
        Answered { origin, reply }.leave(&self.progress);
        BodyError::Answered
    }
}

impl Filtered for FilteredBody<RequestBody> {
    fn drop_trailers(&mut self) {
        self.drop_trailers = true;
    }
}

impl<B: Body<Data = Bytes, Error = BodyError> + Unpin> Body for FilteredBody<B> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.get_mut().poll_next(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.ended && self.passed.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.known_length()
    }
}
