//! The contract of HTTP filters.
//!
//! A filter is built once per worker from its configuration ([`registry`]) and stands at a position in a
//! [`chain`]: the connection manager's, which runs once per request, or a cluster's, which runs for each attempt.
//! Filters are called in the order of their chain on the way up and in the opposite order on the way down:
//!
//! ```text
//! request_head [request_buffered] request_data* request_end  ->  router  -> attempt
//! complete  <-  response_end response_data* [response_buffered] response_head  <-
//! ```
//!
//! - Calls are synchronous. A filter that must wait returns a future ([`Step::wait`]) whose result, a closure, sees
//!   the message again and decides anew. A chain in which nobody waits allocates nothing and crosses no `await`.
//! - What a filter keeps about a stream is its own: [`HeadContext::set_state`]. Streams that it has nothing to keep
//!   about cost nothing.
//! - Bodies stream past a filter that has not asked for them ([`HeadContext::watch_body`]). A body that nobody edits
//!   keeps its length.
//! - A filter that must see a whole body before the head goes on asks for it ([`Step::Buffer`]), up to a limit.
//! - Replies of the proxy's own pass the response side of the connection manager's whole chain, whoever made them
//!   ([`HeadContext::origin`]). A reply that replaces a response on its way down goes to the client directly, as
//!   in Envoy: filters that saw the response's head see no second one.
//!
//! The core has no line for any single filter, and a filter is one file here, one line in [`registry`], and its
//! translation from protobuf.

use std::fmt::Debug;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use http::HeaderMap;

use super::local_reply::LocalReply;
use super::stream::RequestHead;

pub mod body;
pub mod chain;
pub mod context;
pub mod registry;
pub mod run;
pub mod state;

mod cors;
mod fault;
mod grpc_stats;
mod istio_stats;
mod peer_metadata;
mod rbac;

pub use body::Watch;
pub use context::{BodyContext, BufferedBody, HeadContext, ReplyOrigin, Side};

/// The head of a response.
pub type ResponseHead = http::response::Parts;

/// One configured filter of one worker. What belongs to one stream is in its state.
pub trait Filter: Debug {
    /// The head of the request.
    fn request_head(
        &self,
        context: &mut HeadContext<'_>,
        head: &mut RequestHead,
    ) -> Step<RequestHead> {
        let _ = (context, head);
        Step::Continue
    }

    /// The body that the filter has asked for with [`Step::Buffer`] is there: [`HeadContext::body`].
    fn request_buffered(
        &self,
        context: &mut HeadContext<'_>,
        head: &mut RequestHead,
    ) -> Step<RequestHead> {
        let _ = (context, head);
        Step::Continue
    }

    /// Bytes of the request's body; an empty result is left out.
    fn request_data(&self, context: &mut BodyContext<'_>, data: &mut Bytes) -> BodyStep<Bytes> {
        let _ = (context, data);
        BodyStep::Continue
    }

    /// The end of the request's body, with or without trailers. Called once for each body that was read to its end.
    fn request_end(&self, context: &mut BodyContext<'_>, end: &mut BodyEnd) -> BodyStep<BodyEnd> {
        let _ = (context, end);
        BodyStep::Continue
    }

    /// The head of the response, the upstream's or the proxy's own.
    fn response_head(
        &self,
        context: &mut HeadContext<'_>,
        head: &mut ResponseHead,
    ) -> Step<ResponseHead> {
        let _ = (context, head);
        Step::Continue
    }

    /// The body that the filter has asked for with [`Step::Buffer`] is there: [`HeadContext::body`].
    fn response_buffered(
        &self,
        context: &mut HeadContext<'_>,
        head: &mut ResponseHead,
    ) -> Step<ResponseHead> {
        let _ = (context, head);
        Step::Continue
    }

    /// Bytes of the response's body; an empty result is left out. A reply here cuts the response: its head is gone.
    fn response_data(&self, context: &mut BodyContext<'_>, data: &mut Bytes) -> BodyStep<Bytes> {
        let _ = (context, data);
        BodyStep::Continue
    }

    /// The end of the response's body, with or without trailers.
    fn response_end(&self, context: &mut BodyContext<'_>, end: &mut BodyEnd) -> BodyStep<BodyEnd> {
        let _ = (context, end);
        BodyStep::Continue
    }

    /// The stream (in a cluster's chain: the attempt) is over, whatever became of it. Called exactly once, before
    /// access logs are written.
    fn complete(&self, context: &mut HeadContext<'_>) {
        let _ = context;
    }

    /// Reports the stream, as access logs do: called when all filters have completed it, wherever they stand in the
    /// chain.
    fn report(&self, context: &mut HeadContext<'_>) {
        let _ = context;
    }
}

/// What a filter wants after it saw a head of type `H`.
pub enum Step<H> {
    /// The next filter.
    Continue,
    /// Answer now.
    Reply(Box<LocalReply>),
    /// Wait, then decide anew.
    Wait(LocalBoxFuture<'static, Then<H>>),
    /// Hold the head back until the body is there, then call `request_buffered` or `response_buffered`.
    Buffer(Buffering),
}

/// What a filter does with a head after it has waited.
pub type Then<H> = Box<dyn FnOnce(&mut HeadContext<'_>, &mut H) -> Step<H>>;

/// How much of a body is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Buffering {
    /// The most that is held, in bytes.
    pub limit: usize,
    /// What happens to a longer one.
    pub overflow: Overflow,
}

/// What happens to a body that exceeds the limit of its buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overflow {
    /// A request is answered by 413, a response is replaced by 500.
    Refuse,
    /// The filter gets what is there ([`BufferedBody::complete`] says so), and the rest streams on behind it.
    StreamOn,
}

/// What a filter wants after it saw a part `P` of a body.
pub enum BodyStep<P> {
    /// The part goes on as it is now.
    Continue,
    /// Answer now; the rest of the body is not wanted.
    Reply(Box<LocalReply>),
    /// Hold the part and what follows it, then decide anew.
    Wait(LocalBoxFuture<'static, BodyThen<P>>),
}

/// What a filter does with a part of a body after it has waited.
pub type BodyThen<P> = Box<dyn FnOnce(&mut BodyContext<'_>, &mut P) -> BodyStep<P>>;

/// The end of a body.
#[derive(Debug, Default)]
pub struct BodyEnd {
    /// Bytes to send before the end.
    pub data: Bytes,
    /// The trailers; a filter may add and take them away.
    pub trailers: Option<HeaderMap>,
}

impl<H: 'static> Step<H> {
    /// Waits for `work`, whose result decides on the head anew. Dropped, and with it the work, when the stream ends.
    pub fn wait<F, T>(work: F) -> Self
    where
        F: Future<Output = T> + 'static,
        T: FnOnce(&mut HeadContext<'_>, &mut H) -> Self + 'static,
    {
        Self::Wait(work.map(|then| Box::new(then) as Then<H>).boxed_local())
    }
}

impl<P: 'static> BodyStep<P> {
    /// Waits for `work`, whose result decides on the part anew.
    pub fn wait<F, T>(work: F) -> Self
    where
        F: Future<Output = T> + 'static,
        T: FnOnce(&mut BodyContext<'_>, &mut P) -> Self + 'static,
    {
        Self::Wait(work.map(|then| Box::new(then) as BodyThen<P>).boxed_local())
    }
}
