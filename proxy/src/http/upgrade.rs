//! Requests that leave HTTP: WebSocket and other upgrades. The head travels as a request; after a 101 the two
//! connections are joined byte by byte.

use std::time::Instant;

use http::header::{CONNECTION, HeaderValue, UPGRADE};
use http::{Method, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::body::RequestBody;
use super::body::response::ResponseBody;
use super::client::{self, Answer};
use super::deadline::{AfterRequest, Limits};
use super::handler::{reply, respond};
use super::router::{Exchange, note_failure};
use super::stream::{RequestHead, Stream};
use crate::config::route::Action;
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
    _body: Incoming,
) -> Response<ResponseBody> {
    let Some(host) = exchange.pick(&stream, None) else {
        return reply(stream, client::no_healthy_upstream(), &head);
    };
    exchange.set_auto_host(&host, &mut head);
    let kind = head.upgrade.clone().unwrap_or_default();
    let client_upgrade = head.extensions.remove::<OnUpgrade>();
    let downstream_version = head.version;
    as_http1(&mut head, &kind);
    stream.info.attempts = 1;
    let authority = std::str::from_utf8(head.authority()).ok();
    let options = HttpConnectOptions {
        priority: exchange.forward.priority,
        // Upgrades are HTTP/1 upstream. Differs from Envoy, which may use extended CONNECT.
        downstream_version: Version::HTTP_11,
        authority,
    };
    let progress = std::rc::Rc::new(super::body::incoming::BodyProgress::default());
    progress.complete.set(true);
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
        RequestBody::Empty,
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
    let agreed = answer.response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let (true, Some(client_upgrade)) = (agreed, client_upgrade) else {
        // The client may have sent bytes of the other protocol already.
        stream.close_after = true;
        return exchange.finish(stream, answer, sent, limits);
    };
    join(
        stream,
        exchange,
        answer,
        client_upgrade,
        downstream_version,
        sent,
    )
}

/// An extended CONNECT becomes a GET with an upgrade header.
fn as_http1(head: &mut RequestHead, kind: &str) {
    if head.method == Method::CONNECT {
        head.method = Method::GET;
    }
    head.headers
        .insert(CONNECTION, HeaderValue::from_static("upgrade"));
    if !head.headers.contains_key(UPGRADE)
        && let Ok(kind) = HeaderValue::from_str(kind)
    {
        head.headers.insert(UPGRADE, kind);
    }
}

fn join(
    mut stream: Box<Stream>,
    exchange: &Exchange<'_>,
    answer: Answer,
    client_upgrade: OnUpgrade,
    downstream_version: Version,
    sent: Instant,
) -> Response<ResponseBody> {
    let Answer {
        mut response,
        sender,
    } = answer;
    let upstream_upgrade = hyper::upgrade::on(&mut response);
    let (mut parts, _) = response.into_parts();
    exchange.note_response(&mut stream, &mut parts, sent.elapsed());
    let extended = downstream_version == Version::HTTP_2;
    if extended {
        parts.status = StatusCode::OK;
        parts.headers.remove(CONNECTION);
        parts.headers.remove(UPGRADE);
    }
    let sent_bytes = stream.info.bytes_sent.clone();
    let received_bytes = stream.info.bytes_received.clone();
    let mut response = respond(stream, parts, ResponseBody::detached);
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
