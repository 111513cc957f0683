//! The one place that answers a request: a reply of the proxy's own or an upstream's response goes through the
//! filters, gets what the connection manager adds, and decides whether the connection goes on.

use http::header::{CONNECTION, HeaderValue};
use http::{Method, Response, StatusCode, Version};

use super::body::response::{ResponseBody, ResponseSource, grpc_status};
use super::filter::run::{self, Answered};
use super::filter::{ReplyOrigin, ResponseHead, Side};
use super::local_reply::{LocalReply, Shape};
use super::refusal::Refusal;
use super::route::rewrite;
use super::stream::Stream;
use super::{framing, headers};

/// Answers with a reply of the proxy's own.
pub async fn reply(
    stream: Box<Stream>,
    reply: LocalReply,
    origin: ReplyOrigin,
) -> Response<ResponseBody> {
    let (stream, head, body) = local(stream, reply, origin);
    respond(stream, head, body).await
}

/// Answers with a reply that came with its origin.
pub async fn answer(stream: Box<Stream>, answered: Answered) -> Response<ResponseBody> {
    reply(stream, *answered.reply, answered.origin).await
}

/// Answers with a response, after the filters have seen it.
pub async fn respond(
    mut stream: Box<Stream>,
    mut head: ResponseHead,
    mut body: ResponseSource,
) -> Response<ResponseBody> {
    // The head is gone, or about to be: what follows may last for days.
    stream.header_lease = None;
    let side = Side::Downstream;
    if let Err(answered) = run::response(&mut stream, side, &mut head, &mut body).await {
        // As Envoy: what replaces a response on its way down is not shown to the filters.
        (stream, head, body) = local(stream, *answered.reply, answered.origin);
    }
    finish(stream, head, body)
}

/// A reply as a response, and what logs are told of it.
fn local(
    mut stream: Box<Stream>,
    reply: LocalReply,
    origin: ReplyOrigin,
) -> (Box<Stream>, ResponseHead, ResponseSource) {
    // Whatever failed, it is because of the client's body: the connection serves one request at a time.
    let broken = match stream.is_http1() {
        false => None,
        true => stream.connection.exchanges.broken(),
    };
    let reply = broken.map_or(reply, Refusal::reply);
    stream.origin = Some(origin);
    stream.info.flags.insert(reply.flags);
    stream.info.response_code_details = reply.details.clone();
    if let Some(status) = reply.grpc_status {
        stream.info.grpc_status = Some(status);
    }
    let (close, shape) = (reply.close, reply.shape);
    let to_head = stream.info.method == Some(Method::HEAD);
    let response = reply.into_response(stream.info.grpc, to_head);
    let (mut head, body) = response.into_parts();
    stream.info.response_code = head.status.as_u16();
    if shape != Shape::Whole {
        rewrite::finalize_response(&stream, &mut head.headers);
    }
    if stream.attempts_in_reply {
        let count = HeaderValue::from(stream.info.attempts);
        head.headers.insert("x-envoy-attempt-count", count);
    }
    if stream.info.grpc {
        let status = grpc_status(&head.headers);
        stream.info.grpc_status = status.or(stream.info.grpc_status);
    }
    if close && stream.is_http1() {
        stream.close_after = true;
    }
    (stream, head, ResponseSource::full(body))
}

/// Adds what the connection manager adds, and frames the response.
fn finish(
    mut stream: Box<Stream>,
    mut head: ResponseHead,
    body: ResponseSource,
) -> Response<ResponseBody> {
    let upgrade = head.status == StatusCode::SWITCHING_PROTOCOLS;
    headers::clean_response(&stream, &mut head, upgrade);
    let method = stream.info.method.as_ref();
    let body = match framing::is_bodiless(method, head.status) {
        true => body.without_held(),
        false => body,
    };
    let length = framing::length(&body);
    framing::response(method, head.status, &mut head.headers, length);
    stream.info.response_code = head.status.as_u16();
    stream.capture_response(&head.headers);
    // As Envoy: an HTTP/1 connection ends with a response that overtakes its request, because the rest of the
    // request may be long in coming, and must not be taken for the next.
    let close = stream.close_after || stream.connection.is_spent() || stream.is_uploading();
    if !upgrade && (stream.is_http1() && close || stream.closes_by_version) {
        head.headers
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    head.version = Version::HTTP_11;
    Response::from_parts(head, ResponseBody::new(body, stream))
}
