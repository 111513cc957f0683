//! Requests that leave HTTP: WebSocket and other upgrades. The request travels as any other, with its body; after a
//! 101 the two connections are joined byte by byte.
//!
//! RFC 9110 section 7.8: the protocol changes behind the request's last byte, not before; a 101 that comes earlier is
//! an error of the upstream. Differs from Envoy, which
//! announces the body but holds it back until the 101. Bytes behind the request are read after the 101 only; without
//! one they are neither forwarded nor read as a request, because the client's connection closes.

use std::rc::Rc;
use std::time::Instant;

use http::header::{CONNECTION, CONTENT_LENGTH, HeaderValue, UPGRADE};
use http::{Method, Response, StatusCode, Version};
use hyper::body::{Body, Incoming};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::body::RequestBody;
use super::body::incoming::BodyProgress;
use super::body::response::ResponseBody;
use super::client::{self, Answer};
use super::deadline::{AfterRequest, Limits};
use super::handler::{reply, respond};
use super::local_reply::LocalReply;
use super::router::{Exchange, counted, note_failure};
use super::stream::{RequestHead, Stream};
use crate::config::route::Action;
use crate::telemetry::stream_info::ResponseFlags;
use crate::upstream::{HttpConnectOptions, HttpSender};

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
    body: Incoming,
) -> Response<ResponseBody> {
    let Some(host) = exchange.pick(&stream, None) else {
        return reply(stream, client::no_healthy_upstream(), &head);
    };
    exchange.set_auto_host(&host, &mut head);
    let client_upgrade = head.extensions.remove::<OnUpgrade>();
    let extended = as_get(&mut head);
    stream.info.attempts = 1;
    let authority = std::str::from_utf8(head.authority()).ok();
    let options = HttpConnectOptions {
        priority: exchange.forward.priority,
        // Upgrades are HTTP/1 upstream. Differs from Envoy, which may use extended CONNECT.
        downstream_version: Version::HTTP_11,
        authority,
    };
    let progress = Rc::new(BodyProgress::default());
    stream.upload = Some(progress.clone());
    let body = match body.is_end_stream() {
        true => {
            progress.complete.set(true);
            RequestBody::Empty
        }
        false => RequestBody::Incoming(counted(&stream, &head, body, &progress)),
    };
    let mut limits = Limits {
        global: AfterRequest::new(exchange.timeouts.global, &progress),
        idle: None,
        duration: None,
    };
    let mut none = AfterRequest::new(None, &progress);
    let sent = Instant::now();
    let work = client::send(
        &exchange.cluster,
        &host,
        &options,
        &head,
        &mut stream.info,
        body,
    );
    let answer = match limits.run(&mut none, work).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(failure)) => {
            note_failure(&mut stream, &failure);
            let answer = failure.reply(false, exchange.suppress_envoy_headers);
            return reply(stream, answer, &head);
        }
        Err(expired) => return exchange.expire(stream, &head, expired, &host, &progress),
    };
    let status = answer.response.status();
    match client_upgrade {
        // What is left of the body would reach an upstream that may take it for the other protocol.
        _ if status == StatusCode::SWITCHING_PROTOCOLS && stream.is_uploading() => {
            reply(stream, client::protocol_error(), &head)
        }
        Some(client) if status == StatusCode::SWITCHING_PROTOCOLS => {
            join(stream, exchange, answer, client, extended, sent)
        }
        _ if extended && status.is_success() => reply(stream, not_granted(), &head),
        _ => exchange.finish(stream, answer, sent, limits),
    }
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

fn join(
    mut stream: Box<Stream>,
    exchange: &Exchange<'_>,
    answer: Answer,
    client_upgrade: OnUpgrade,
    extended: bool,
    sent: Instant,
) -> Response<ResponseBody> {
    let Answer {
        mut response,
        sender,
    } = answer;
    let upstream_upgrade = hyper::upgrade::on(&mut response);
    let (mut parts, _) = response.into_parts();
    let granted = parts.headers.get(UPGRADE).cloned();
    exchange.note_response(&mut stream, &mut parts, sent.elapsed());
    if extended {
        parts.status = StatusCode::OK;
    }
    let sent_bytes = stream.info.bytes_sent.clone();
    let received_bytes = stream.info.bytes_received.clone();
    let mut response = respond(stream, parts, Some(0), ResponseBody::detached);
    if !extended && let Some(granted) = granted {
        // Exactly what was granted, whatever the route's header operations did.
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, granted);
    }
    let stream = response.body_mut().take_stream();
    tokio::task::spawn_local(async move {
        let copied = copy(client_upgrade, upstream_upgrade, sender).await;
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
    sender: HttpSender,
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
