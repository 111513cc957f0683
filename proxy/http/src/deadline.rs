//! Time limits of a request while it waits for its response. A timer is made only where a limit is set, and
//! only once the limit has begun to run.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::StatusCode;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::body::incoming::BodyProgress;
use super::local_reply::LocalReply;
use super::stream::Stream;
use crate::telemetry::stream_info::ResponseFlags;

/// Which limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expired {
    /// Of the whole exchange.
    Global,
    /// Of one try.
    PerTry,
    /// Of silence.
    Idle,
    /// Of the stream's duration.
    Duration,
    /// None: a filter that saw the request's body has answered.
    Answered,
}

impl Expired {
    /// The local reply. `complete` says whether the whole request has come.
    pub fn reply(self, complete: bool) -> LocalReply {
        let late = match complete {
            true => StatusCode::GATEWAY_TIMEOUT,
            false => StatusCode::REQUEST_TIMEOUT,
        };
        let (status, text, details, flag) = match self {
            Self::Global | Self::PerTry | Self::Answered => (
                StatusCode::GATEWAY_TIMEOUT,
                "upstream request timeout",
                match self {
                    Self::PerTry => "upstream_per_try_timeout",
                    _ => "response_timeout",
                },
                ResponseFlags::UPSTREAM_REQUEST_TIMEOUT,
            ),
            Self::Idle => (
                late,
                "stream timeout",
                "stream_idle_timeout",
                ResponseFlags::STREAM_IDLE_TIMEOUT,
            ),
            Self::Duration => (
                late,
                "downstream duration timeout",
                "max_duration_timeout",
                ResponseFlags::DURATION_TIMEOUT,
            ),
        };
        LocalReply::new(status, text, details, flag)
    }
}

/// A limit that runs from the end of the request.
#[derive(Debug)]
pub struct AfterRequest {
    limit: Option<Duration>,
    progress: Rc<BodyProgress>,
    /// The timer; begun when the request is complete.
    pub sleep: Option<Pin<Box<Sleep>>>,
}

impl AfterRequest {
    /// A limit that begins when the request's body is complete.
    pub fn new(limit: Option<Duration>, progress: &Rc<BodyProgress>) -> Self {
        Self {
            limit,
            progress: progress.clone(),
            sleep: None,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(limit) = self.limit else {
            return false;
        };
        if self.sleep.is_none() {
            if !self.progress.poll_complete(cx) {
                return false;
            }
            self.sleep = Some(Box::pin(sleep(limit)));
        }
        let sleep = self.sleep.as_mut().expect("made above");
        sleep.as_mut().poll(cx).is_ready()
    }
}

/// A limit on silence: it begins anew whenever the client has sent something.
#[derive(Debug)]
pub struct Idle {
    limit: Duration,
    received: Rc<Cell<u64>>,
    seen: u64,
    sleep: Pin<Box<Sleep>>,
}

impl Idle {
    /// A limit that watches how much the client has sent.
    pub fn new(limit: Duration, received: &Rc<Cell<u64>>) -> Self {
        Self {
            limit,
            received: received.clone(),
            seen: received.get(),
            sleep: Box::pin(sleep(limit)),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        while self.sleep.as_mut().poll(cx).is_ready() {
            if self.received.get() == self.seen {
                return true;
            }
            self.seen = self.received.get();
            self.sleep.as_mut().reset(Instant::now() + self.limit);
        }
        false
    }

    /// The timer, for the response that follows.
    pub fn into_parts(self) -> (Duration, Pin<Box<Sleep>>) {
        (self.limit, self.sleep)
    }
}

/// The limits of one request.
#[derive(Debug)]
pub struct Limits {
    /// Of the whole exchange.
    pub global: AfterRequest,
    /// Of silence.
    pub idle: Option<Idle>,
    /// Of the stream's duration.
    pub duration: Option<Pin<Box<Sleep>>>,
}

impl Limits {
    /// What bounds the time that filters take: the client's silence and the stream's duration.
    pub fn of_filters(stream: &Stream) -> Self {
        let limits = &stream.connection.hcm.limits;
        Self {
            global: AfterRequest::new(None, &stream.upload),
            idle: limits
                .stream_idle_timeout
                .map(|limit| Idle::new(limit, &stream.info.bytes_received)),
            duration: Self::duration_from(stream.info.start, limits.max_stream_duration),
        }
    }

    /// The end of the stream's duration, counted from its beginning.
    pub fn duration_from(
        start: std::time::Instant,
        limit: Option<Duration>,
    ) -> Option<Pin<Box<Sleep>>> {
        let end = Instant::from_std(start + limit?);
        Some(Box::pin(sleep_until(end)))
    }

    /// Waits for `work`, or for the first limit that is reached.
    pub async fn run<T>(
        &mut self,
        per_try: &mut AfterRequest,
        work: impl Future<Output = T>,
    ) -> Result<T, Expired> {
        let mut work = std::pin::pin!(work);
        poll_fn(|cx| {
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(Ok(done));
            }
            if self.global.progress.poll_answered(cx) {
                return Poll::Ready(Err(Expired::Answered));
            }
            match self.poll_expired(per_try, cx) {
                Some(expired) => Poll::Ready(Err(expired)),
                None => Poll::Pending,
            }
        })
        .await
    }

    fn poll_expired(
        &mut self,
        per_try: &mut AfterRequest,
        cx: &mut Context<'_>,
    ) -> Option<Expired> {
        if self.global.poll(cx) {
            return Some(Expired::Global);
        }
        if per_try.poll(cx) {
            return Some(Expired::PerTry);
        }
        if let Some(duration) = &mut self.duration
            && duration.as_mut().poll(cx).is_ready()
        {
            return Some(Expired::Duration);
        }
        if let Some(idle) = &mut self.idle
            && idle.poll(cx)
        {
            return Some(Expired::Idle);
        }
        None
    }
}
