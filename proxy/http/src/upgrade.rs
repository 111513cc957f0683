//! Requests that leave HTTP: WebSocket and other upgrades. The request travels as any other, with its body; after a
//! 101 the two connections are joined byte by byte.
//!
//! RFC 9110 section 7.8: the protocol changes behind the request's last byte, not before; a 101 that comes earlier is
//! an error of the upstream. Differs from Envoy, which
//! announces the body but holds it back until the 101. Bytes behind the request are read after the 101 only; without
//! one they are neither forwarded nor read as a request, because the client's connection closes.

use std::time::Instant;

use http::header::{CONNECTION, CONTENT_LENGTH, HeaderValue, UPGRADE};
use http::{Method, Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::attempt::{Outcome, attempt};
use super::body::RequestBody;
use super::body::response::{ResponseBody, ResponseSource};
use super::body::upstream::UpstreamBody;
use super::client;
use super::deadline::{AfterRequest, Limits};
use super::exchange::{Exchange, note_failure};
use super::filter::{ReplyOrigin, ResponseHead};
use super::local_reply::LocalReply;
use super::respond::{answer, reply, respond};
use super::stream::{RequestHead, Stream};
use crate::config::route::Action;
use crate::telemetry::stream_info::ResponseFlags;
use crate::upstream::HttpSender;

/// How much of each direction is in flight at once, in bytes.
const BUFFER_BYTES: usize = 16 * 1024;

/// True if the route, or else the connection manager, lets this type pass.
pub fn is_allowed(stream: &Stream, upgrade: &str) -> bool {
    if let Some(route) = &stream.route
        && let Action::Forward(forward) = &route.route().action
        && let Some((_, allowed)) = forward.upgrades.iter().find(|(kind, _)| **kind == *upgrade)
    {
        return *allowed;
    }
    let upgrades = &stream.connection.hcm.upgrades;
    upgrades.iter().any(|kind| **kind == *upgrade)
}

/// Sends the request and, if the upstream agrees, joins the connections.
pub async fn forward(
    mut stream: Box<Stream>,
    exchange: &Exchange<'_>,
    mut head: RequestHead,
    body: RequestBody,
) -> Response<ResponseBody> {
    let Some(host) = exchange.pick(&stream, None) else {
        return reply(stream, client::no_healthy_upstream(), ReplyOrigin::Router).await;
    };
    exchange.set_auto_host(&host, &mut head);
    let client_upgrade = head.extensions.remove::<OnUpgrade>();
    let extended = as_get(&mut head);
    stream.info.attempts = 1;
    let mut limits = Limits {
        global: AfterRequest::new(exchange.timeouts.global, &stream.upload),
        idle: None,
        duration: None,
    };
    let mut none = AfterRequest::new(None, &stream.upload);
    let sent = Instant::now();
    let work = attempt(exchange.target(&host), &mut stream, head, body);
    let outcome = limits.run(&mut none, work).await;
    let (head, body) = match outcome {
        Ok(Outcome::Response(head, body)) => (head, body),
        Ok(Outcome::Failed(failure)) => {
            note_failure(&mut stream, &failure);
            let answer = failure.reply(false, exchange.suppress_envoy_headers);
            return reply(stream, answer, ReplyOrigin::Router).await;
        }
        Ok(Outcome::Answered(answered)) => return answer(stream, answered).await,
        Err(expired) => return exchange.expire(stream, expired, &host).await,
    };
    let status = head.status;
    match client_upgrade {
        // What is left of the body would reach an upstream that may take it for the other protocol.
        _ if status == StatusCode::SWITCHING_PROTOCOLS && stream.is_uploading() => {
            reply(stream, client::protocol_error(), ReplyOrigin::Router).await
        }
        Some(client) if status == StatusCode::SWITCHING_PROTOCOLS => {
            let granted = Granted {
                head,
                body,
                extended,
            };
            join(stream, exchange, granted, client, sent).await
        }
        _ if extended && status.is_success() => {
            reply(stream, not_granted(), ReplyOrigin::Router).await
        }
        _ => {
            let elapsed = sent.elapsed();
            exchange.finish(stream, head, body, elapsed, limits).await
        }
    }
}

/// The upstream switches protocols.
struct Granted {
    head: ResponseHead,
    body: ResponseSource,
    /// The client asked by an extended CONNECT.
    extended: bool,
}

/// An extended CONNECT (RFC 8441) becomes a GET without a body, to which [`framing`](super::framing) adds the
/// upgrade; true if the request was one.
fn as_get(head: &mut RequestHead) -> bool {
    let extended = head.method == Method::CONNECT;
    if extended {
        head.method = Method::GET;
        head.headers.remove(CONTENT_LENGTH);
    }
    extended
}

/// The upstream has answered the GET. To the client any 2xx would say that the tunnel is there (RFC 8441
/// section 5). Differs from Envoy, which passes the status on.
fn not_granted() -> LocalReply {
    LocalReply::empty(
        StatusCode::BAD_GATEWAY,
        "websocket_handshake_unsuccessful",
        ResponseFlags::UPSTREAM_PROTOCOL_ERROR,
    )
}

async fn join(
    mut stream: Box<Stream>,
    exchange: &Exchange<'_>,
    granted: Granted,
    client: OnUpgrade,
    sent: Instant,
) -> Response<ResponseBody> {
    let Granted {
        mut head,
        mut body,
        extended,
    } = granted;
    let upstream = head.extensions.remove::<OnUpgrade>();
    let sender = body.upstream_mut().and_then(UpstreamBody::take_sender);
    let protocol = head.headers.get(UPGRADE).cloned();
    exchange.note_response(&mut stream, &mut head, sent.elapsed());
    if extended {
        head.status = StatusCode::OK;
    }
    let sent_bytes = stream.info.bytes_sent.clone();
    let received_bytes = stream.info.bytes_received.clone();
    let mut response = respond(stream, head, ResponseSource::default()).await;
    let (Some(upstream), false) = (upstream, response.body().is_local_reply()) else {
        // A filter has answered in place of the upstream.
        return response;
    };
    if !extended && let Some(protocol) = protocol {
        // Exactly what was granted, whatever the route's header operations did.
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol);
    }
    let stream = response.body_mut().take_stream();
    tokio::task::spawn_local(async move {
        let copied = copy(client, upstream, sender).await;
        if let Ok((up, down)) = copied {
            received_bytes.set(received_bytes.get() + up);
            sent_bytes.set(sent_bytes.get() + down);
        }
        if let Some(stream) = stream {
            stream.complete();
        }
    });
    response
}

/// Moves bytes both ways until both sides are done.
async fn copy(
    client: OnUpgrade,
    upstream: OnUpgrade,
    sender: Option<HttpSender>,
) -> std::io::Result<(u64, u64)> {
    let client = client.await.map_err(std::io::Error::other)?;
    let upstream = upstream.await.map_err(std::io::Error::other)?;
    let mut client = TokioIo::new(client);
    let mut upstream = TokioIo::new(upstream);
    let copied = tokio::io::copy_bidirectional_with_sizes(
        &mut client,
        &mut upstream,
        BUFFER_BYTES,
        BUFFER_BYTES,
    )
    .await;
    drop(sender);
    copied
}
