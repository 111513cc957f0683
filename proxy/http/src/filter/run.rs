//! Runs a chain over a head, with the body that follows it.
//!
//! The loops are synchronous as long as every filter goes on. What waits, buffers or answers leaves them for
//! `settle`.

use std::future::poll_fn;
use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body::Body;

use super::body::{FilteredBody, Watch, Way};
use super::context::{BufferedBody, HeadContext, ReplyOrigin, Side};
use super::{Buffering, Filter, Overflow, ResponseHead, Step};
use crate::body::incoming::BodyProgress;
use crate::body::response::ResponseSource;
use crate::body::{BodyError, RequestBody};
use crate::deadline::{AfterRequest, Limits};
use crate::framing;
use crate::local_reply::LocalReply;
use crate::route::choose;
use crate::stream::{RequestHead, Stream};
use crate::telemetry::stream_info::ResponseFlags;

/// A reply of the proxy's own, and who made it.
#[derive(Debug)]
pub struct Answered {
    /// Who.
    pub origin: ReplyOrigin,
    /// The reply.
    pub reply: Box<LocalReply>,
}

impl Answered {
    /// Leaves the reply for whoever waits for the response.
    pub(super) fn leave(self, progress: &BodyProgress) {
        progress.answer(Box::new(self));
    }

    /// The reply that a filter has left, if there is one.
    pub fn take(progress: &BodyProgress) -> Option<Self> {
        let answer = progress.take_answer()?.downcast();
        answer.ok().map(|answered| *answered)
    }
}

/// Runs the request side, from the first filter to the last.
///
/// # Errors
/// When a filter answers.
pub async fn request(
    stream: &mut Stream,
    side: Side,
    head: &mut RequestHead,
    body: &mut RequestBody,
) -> Result<(), Answered> {
    let Some(filters) = stream.filters(side) else {
        return Ok(());
    };
    let chain = filters.chain.clone();
    for position in chain.positions() {
        if stream.is_filtered(side, position) {
            let filter = &chain.link(position).filter;
            let mut context = HeadContext::new(stream, side, position);
            let step = filter.request_head(&mut context, head);
            if !matches!(step, Step::Continue) {
                Box::pin(settle(&**filter, &mut context, step, head, body)).await?;
            }
            let asked = std::mem::take(&mut context.asked);
            if let Some(watch) = asked.body {
                watched::<RequestHead>(&mut context, watch, body)?;
            }
            if asked.route && side == Side::Downstream {
                choose::again(stream, head)?;
            }
        }
    }
    Ok(())
}

/// Runs the response side, from the last filter to the first.
///
/// # Errors
/// When a filter answers in place of the response.
pub async fn response(
    stream: &mut Stream,
    side: Side,
    head: &mut ResponseHead,
    body: &mut ResponseSource,
) -> Result<(), Answered> {
    let Some(filters) = stream.filters(side) else {
        return Ok(());
    };
    let chain = filters.chain.clone();
    for position in chain.positions().rev() {
        if stream.is_filtered(side, position) {
            let filter = &chain.link(position).filter;
            let mut context = HeadContext::new(stream, side, position);
            let step = filter.response_head(&mut context, head);
            if !matches!(step, Step::Continue) {
                Box::pin(settle(&**filter, &mut context, step, head, body)).await?;
            }
            if let Some(watch) = context.asked.body
                && !framing::is_bodiless(context.stream.info.method.as_ref(), head.status)
            {
                watched::<ResponseHead>(&mut context, watch, body)?;
            }
        }
    }
    Ok(())
}

/// Tells the filters that work for the stream that it is over.
pub fn complete(stream: &mut Stream, side: Side) {
    let Some(filters) = stream.filters(side) else {
        return;
    };
    let chain = filters.chain.clone();
    let each: [fn(&dyn Filter, &mut HeadContext<'_>); 2] = [
        |filter, context| filter.complete(context),
        |filter, context| filter.report(context),
    ];
    for call in each {
        for position in chain.positions() {
            if stream.is_filtered(side, position) {
                let filter = &chain.link(position).filter;
                call(&**filter, &mut HeadContext::new(stream, side, position));
            }
        }
    }
}

/// A head and its body in one of the two directions.
trait Message {
    type Body: Body<Data = Bytes, Error = BodyError> + Unpin + Default;
    const WAY: Way;
    fn buffered(&mut self, filter: &dyn Filter, context: &mut HeadContext<'_>) -> Step<Self>
    where
        Self: Sized;
    fn filtered(body: FilteredBody<Self::Body>) -> Self::Body;
    /// The reply in place of a body that exceeds its buffer.
    fn too_large(stream: &Stream) -> LocalReply;
    /// The reply in place of a body that broke off.
    fn broken() -> LocalReply;
}

impl Message for RequestHead {
    type Body = RequestBody;
    const WAY: Way = Way::Request;

    fn buffered(&mut self, filter: &dyn Filter, context: &mut HeadContext<'_>) -> Step<Self> {
        filter.request_buffered(context, self)
    }

    fn filtered(body: FilteredBody<RequestBody>) -> RequestBody {
        RequestBody::Filtered(Box::new(body))
    }

    fn too_large(stream: &Stream) -> LocalReply {
        stream.connection.cells.downstream_rq_too_large.inc();
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        let flags = ResponseFlags::default();
        LocalReply::new(
            status,
            "Payload Too Large",
            "request_payload_too_large",
            flags,
        )
    }

    fn broken() -> LocalReply {
        let flags = ResponseFlags::default();
        LocalReply::empty(StatusCode::BAD_REQUEST, "request_body_broken", flags)
    }
}

impl Message for ResponseHead {
    type Body = ResponseSource;
    const WAY: Way = Way::Response;

    fn buffered(&mut self, filter: &dyn Filter, context: &mut HeadContext<'_>) -> Step<Self> {
        filter.response_buffered(context, self)
    }

    fn filtered(body: FilteredBody<ResponseSource>) -> ResponseSource {
        ResponseSource::Filtered(Box::new(body))
    }

    fn too_large(_: &Stream) -> LocalReply {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        let flags = ResponseFlags::default();
        let text = "Internal Server Error";
        LocalReply::new(status, text, "response_payload_too_large", flags)
    }

    fn broken() -> LocalReply {
        let flags = ResponseFlags::UPSTREAM_CONNECTION_TERMINATION;
        let details = "upstream_reset_after_response_started{connection_termination}";
        LocalReply::empty(StatusCode::BAD_GATEWAY, details, flags)
    }
}

/// Does what a filter asks for until it lets the head go on.
async fn settle<H: Message>(
    filter: &dyn Filter,
    context: &mut HeadContext<'_>,
    mut step: Step<H>,
    head: &mut H,
    body: &mut H::Body,
) -> Result<(), Answered> {
    let mut limits = Limits::of_filters(context.stream);
    loop {
        step = match step {
            Step::Continue => break,
            Step::Reply(reply) => return Err(context.answered(*reply)),
            Step::Wait(work) => {
                let then = within(&mut limits, context, work).await?;
                then(context, head)
            }
            Step::Buffer(buffering) => {
                let collecting = collect(body, buffering.limit);
                let collected = within(&mut limits, context, collecting).await?;
                context.body = Some(accepted::<H>(context, collected, buffering)?);
                head.buffered(filter, context)
            }
        };
    }
    if let Some(held) = context.body.take() {
        let source = std::mem::take(body);
        *body = H::filtered(FilteredBody::held(held, source));
    }
    Ok(())
}

async fn within<T>(
    limits: &mut Limits,
    context: &HeadContext<'_>,
    work: impl Future<Output = T>,
) -> Result<T, Answered> {
    let complete = context.stream.upload.complete.get();
    let mut none = AfterRequest::new(None, &context.stream.upload);
    let done = limits.run(&mut none, work).await;
    done.map_err(|expired| match Answered::take(&context.stream.upload) {
        Some(answered) => answered,
        None => Answered {
            origin: ReplyOrigin::Connection,
            reply: Box::new(expired.reply(complete)),
        },
    })
}

/// Reads a body to its end, or beyond a limit.
async fn collect<B>(body: &mut B, limit: usize) -> Result<BufferedBody, BodyError>
where
    B: Body<Data = Bytes, Error = BodyError> + Unpin,
{
    let mut data = BytesMut::new();
    let mut trailers = None;
    while data.len() <= limit {
        let frame = match poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
            Some(frame) => frame?,
            None => break,
        };
        match frame.into_data() {
            Ok(chunk) => data.extend_from_slice(&chunk),
            Err(frame) => {
                trailers = frame.into_trailers().ok();
                break;
            }
        }
    }
    Ok(BufferedBody {
        complete: data.len() <= limit,
        data: data.freeze(),
        trailers,
    })
}

fn accepted<H: Message>(
    context: &HeadContext<'_>,
    collected: Result<BufferedBody, BodyError>,
    buffering: Buffering,
) -> Result<BufferedBody, Answered> {
    let held = collected.map_err(|_| match Answered::take(&context.stream.upload) {
        Some(answered) => answered,
        None => Answered {
            origin: ReplyOrigin::Connection,
            reply: Box::new(H::broken()),
        },
    })?;
    if !held.complete && buffering.overflow == Overflow::Refuse {
        return Err(context.answered(H::too_large(context.stream)));
    }
    Ok(held)
}

/// Puts a filter that has asked for it in the way of the body.
fn watched<H: Message>(
    context: &mut HeadContext<'_>,
    watch: Watch,
    body: &mut H::Body,
) -> Result<(), Answered> {
    let watcher = context.watcher(watch, H::WAY);
    *body = H::filtered(FilteredBody::watched(std::mem::take(body), watcher));
    match Answered::take(&context.stream.upload) {
        Some(answered) => Err(answered),
        None => Ok(()),
    }
}
