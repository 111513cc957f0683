//! One request, from the moment its head is read to the moment the head of its response is written.

use std::rc::Rc;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, HeaderName, HeaderValue, LOCATION};
use http::uri::PathAndQuery;
use http::{Method, Request, Response, StatusCode, Version};
use hyper::body::{Body, Incoming};

use super::body::response::ResponseBody;
use super::filter::FilterSlot;
use super::filter::Step;
use super::header_memory::{Exhausted, Lease};
use super::local_reply::LocalReply;
use super::path::{self, Cleaned};
use super::protocol::{Rejected, Reset};
use super::refusal::Refusal;
use super::request_id::X_REQUEST_ID;
use super::route::matcher::without_port;
use super::route::{Found, rewrite};
use super::stream::{HttpConnection, RequestHead, Scheme, Stream, is_grpc_content_type, joined};
use super::{framing, header_memory, headers, protocol, route, router};
use crate::config::http::StripHostPort;
use crate::telemetry::stream_info::{ResponseFlags, StreamInfo};

const FORCE_TRACE: HeaderName = HeaderName::from_static("x-envoy-force-trace");

/// Answers one request, or says why its stream is reset.
pub async fn handle(
    connection: Rc<HttpConnection>,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, h2::Error> {
    let (parts, body) = request.into_parts();
    let mut stream = begin(connection, &parts);
    stream.unread_body = !body.is_end_stream();
    let leased = lease_headers(&mut stream, &parts);
    let (mut head, checked) = protocol::head(&stream.connection, parts);
    stream.close_after = protocol::ends_connection(&head);
    match leased.and(checked) {
        Ok(()) => {}
        Err(Rejected::Reply(answer)) => {
            let connection = stream.connection.clone();
            connection.count_refusal(answer.flags, answer.status);
            stream.capture_request(&head);
            return Ok(reply(stream, *answer, &head));
        }
        Err(Rejected::Reset(reset)) => return Err(end_by_reset(stream, reset)),
    }
    if let Err(answer) = prepare(&mut stream, &mut head) {
        stream.connection.count_refusal(answer.flags, answer.status);
        stream.capture_request(&head);
        return Ok(reply(stream, *answer, &head));
    }
    if let Some(answer) = run_filters(&mut stream, &mut head).await {
        stream.capture_request(&head);
        return Ok(reply(stream, *answer, &head));
    }
    Ok(router::route(stream, head, body).await)
}

/// Charges the connection and the worker with the request's headers.
fn lease_headers(stream: &mut Stream, parts: &http::request::Parts) -> Result<(), Rejected> {
    let text = header_memory::text_bytes(&parts.method, &parts.uri, &parts.headers);
    let entries = protocol::entries(&parts.uri, &parts.headers);
    let bytes = header_memory::list_bytes(text, entries);
    let exhausted = match Lease::take(&stream.connection, bytes) {
        Ok(lease) => {
            stream.header_lease = Some(lease);
            return Ok(());
        }
        Err(exhausted) => exhausted,
    };
    let cells = &stream.connection.cells;
    cells.downstream_rq_header_memory_overflow.inc();
    Err(match exhausted {
        Exhausted::Connection if parts.version == Version::HTTP_2 => {
            Rejected::Reset(Reset::HEADER_MEMORY)
        }
        Exhausted::Connection => Refusal::HeadTooLarge.into(),
        Exhausted::Worker => {
            let status = StatusCode::SERVICE_UNAVAILABLE;
            let flags = ResponseFlags::default();
            let text = "header memory exhausted";
            let answer = LocalReply::new(status, text, "header_memory_exhausted", flags);
            Rejected::Reply(Box::new(answer))
        }
    })
}

/// Ends a stream without a response. Hyper resets it with the reason of the error.
fn end_by_reset(mut stream: Box<Stream>, reset: Reset) -> h2::Error {
    stream.connection.count_refusal(reset.flags, StatusCode::OK);
    stream.info.flags.insert(reset.flags);
    stream.info.response_code_details = reset.details.into();
    stream.complete();
    reset.reason.into()
}

fn begin(connection: Rc<HttpConnection>, parts: &http::request::Parts) -> Box<Stream> {
    let mut info = StreamInfo::new(connection.info.clone());
    info.protocol = Some(parts.version);
    info.method = Some(parts.method.clone());
    info.grpc = is_grpc_content_type(&parts.headers);
    let view = connection.worker.view();
    connection.begin_request(info.protocol);
    let mut stream = Box::new(Stream::new(connection, view, info));
    stream.closes_by_version = parts.version < Version::HTTP_11 && !keeps_alive(&parts.headers);
    stream
}

/// True if an HTTP/1.0 client asks to keep the connection.
fn keeps_alive(headers: &http::HeaderMap) -> bool {
    joined(headers, CONNECTION).is_some_and(|value| {
        let mut tokens = value.split(|byte| *byte == b',');
        tokens.any(|token| token.trim_ascii().eq_ignore_ascii_case(b"keep-alive"))
    })
}

/// Cleans the head and finds the route.
fn prepare(stream: &mut Stream, head: &mut RequestHead) -> Result<(), Box<LocalReply>> {
    let connection = stream.connection.clone();
    let hcm = &connection.hcm;
    strip_host(stream, head);
    clean_path(stream, head)?;
    let table = route::Table::of(&connection, &stream.view);
    let internal_only = table
        .config()
        .map_or(&[][..], |config| &config.internal_only_headers);
    let client = headers::clean_request(hcm, &connection.info, internal_only, head)
        .map_err(|_| Box::new(Refusal::ConnectionHeader.reply()))?;
    stream.info.remote = client.address;
    stream.internal = client.internal;
    if hcm.request_id.set_in_response || head.headers.contains_key(FORCE_TRACE) {
        stream.request_id = head.headers.get(X_REQUEST_ID).cloned();
    }
    match route::find(table, &connection, head, client.internal) {
        Found::Route(found) => {
            stream.info.route_name = Some(found.route().name.clone()).filter(|n| !n.is_empty());
            stream.info.cluster = found.cluster_id();
            let cluster = found.cluster_id().and_then(|id| stream.view.cluster(id));
            stream.info.cluster_name = cluster.map(|cluster| cluster.name.clone());
            stream.route = Some(found);
        }
        Found::RedirectToHttps => return Err(Box::new(redirect_to_https(head))),
        Found::None => {}
    }
    if let Some(upgrade) = &head.upgrade
        && !super::upgrade::is_allowed(stream, upgrade)
    {
        let flags = ResponseFlags::default();
        let answer = LocalReply::empty(StatusCode::FORBIDDEN, "upgrade_failed", flags);
        return Err(Box::new(answer.closing()));
    }
    Ok(())
}

pub(super) fn bad_request(details: &'static str) -> Box<LocalReply> {
    let flags = ResponseFlags::default();
    Box::new(LocalReply::empty(StatusCode::BAD_REQUEST, details, flags))
}

fn redirect_to_https(head: &RequestHead) -> LocalReply {
    let authority = String::from_utf8_lossy(head.authority());
    let location = format!("https://{authority}{}", head.path);
    let flags = ResponseFlags::default();
    let mut reply = LocalReply::empty(StatusCode::MOVED_PERMANENTLY, "direct_response", flags);
    reply.plain = true;
    match HeaderValue::from_str(&location) {
        Ok(location) => reply.with_header(LOCATION, location),
        Err(_) => reply,
    }
}

fn strip_host(stream: &Stream, head: &mut RequestHead) {
    let hcm = &stream.connection.hcm;
    if hcm.strip_host_port == StripHostPort::Keep && !hcm.strip_trailing_host_dot {
        return;
    }
    let Ok(authority) = std::str::from_utf8(head.authority()) else {
        return;
    };
    let host = without_port(authority);
    let mut port = authority[host.len()..].strip_prefix(':');
    let own = stream.info.connection.local.port().to_string();
    if hcm.strip_host_port == StripHostPort::Any
        || (hcm.strip_host_port == StripHostPort::Matching && port == Some(&own))
    {
        port = None;
    }
    let mut bare = host;
    if hcm.strip_trailing_host_dot {
        bare = bare.strip_suffix('.').unwrap_or(bare);
    }
    let stripped = match port {
        Some(port) => format!("{bare}:{port}"),
        None => bare.to_owned(),
    };
    if stripped != authority
        && let Ok(stripped) = HeaderValue::from_maybe_shared(Bytes::from(stripped))
    {
        head.headers.insert(HOST, stripped);
    }
}

fn clean_path(stream: &Stream, head: &mut RequestHead) -> Result<(), Box<LocalReply>> {
    if head.method == Method::CONNECT && head.upgrade.is_none() {
        return Ok(());
    }
    let options = &stream.connection.hcm.path_normalization;
    match path::clean(options, head.path.as_str()) {
        Cleaned::Unchanged => Ok(()),
        Cleaned::Changed(path) => {
            head.path = PathAndQuery::from_maybe_shared(Bytes::from(path))
                .map_err(|_| bad_request("path_normalization_failed"))?;
            Ok(())
        }
        Cleaned::Redirect(path) => {
            let flags = ResponseFlags::default();
            let status = StatusCode::TEMPORARY_REDIRECT;
            let reply = LocalReply::empty(status, "path_normalization_failed", flags);
            Err(Box::new(match HeaderValue::from_str(&path) {
                Ok(path) => reply.with_header(LOCATION, path),
                Err(_) => reply,
            }))
        }
        Cleaned::Rejected => Err(bad_request("path_normalization_failed")),
    }
}

/// Runs the filters in their order; a reply ends it.
async fn run_filters(stream: &mut Stream, head: &mut RequestHead) -> Option<Box<LocalReply>> {
    let connection = stream.connection.clone();
    for slot in &connection.hcm.filters {
        if is_off(stream, slot) {
            continue;
        }
        match slot.filter.decode_headers(stream, head) {
            Step::Continue => {}
            Step::Reply(reply) => return Some(reply),
            Step::Wait(decision) => {
                if let Some(reply) = decision.await {
                    return Some(reply);
                }
            }
        }
    }
    None
}

fn is_off(stream: &Stream, slot: &FilterSlot) -> bool {
    let Some(route) = &stream.route else {
        return slot.disabled;
    };
    let said = route.overrides().disabled(slot.filter.name());
    said.unwrap_or(slot.disabled)
}

/// Answers with a reply of our own.
pub fn reply(
    mut stream: Box<Stream>,
    reply: LocalReply,
    head: &RequestHead,
) -> Response<ResponseBody> {
    // Whatever failed, it is because of the client's body: the connection serves one request at a time.
    let broken = match head.version {
        Version::HTTP_2 => None,
        _ => stream.connection.exchanges.broken(),
    };
    let reply = broken.map_or(reply, Refusal::reply);
    stream.info.flags.insert(reply.flags);
    stream.info.response_code_details = reply.details.clone();
    if let Some(status) = reply.grpc_status {
        stream.info.grpc_status = Some(status);
    }
    let close = reply.close;
    let plain = reply.plain && reply.details == "cors_response";
    let (mut parts, body) = reply
        .into_response(stream.info.grpc, head.method == Method::HEAD)
        .into_parts();
    stream.info.response_code = parts.status.as_u16();
    if !plain {
        rewrite::finalize_response(&stream, &mut parts.headers);
    }
    if stream.attempts_in_reply {
        let count = HeaderValue::from(stream.info.attempts);
        parts.headers.insert("x-envoy-attempt-count", count);
    }
    if stream.info.grpc {
        let status = super::body::response::grpc_status(&parts.headers);
        stream.info.grpc_status = status.or(stream.info.grpc_status);
    }
    if close && head.version < Version::HTTP_2 {
        stream.close_after = true;
    }
    let length = Some(body.len() as u64);
    respond(stream, parts, length, |stream| {
        ResponseBody::full(body, stream)
    })
}

/// Runs the filters over a response with a body of this length ([`framing::length`]) and adds what the connection
/// manager adds.
pub fn respond(
    mut stream: Box<Stream>,
    mut parts: http::response::Parts,
    length: Option<u64>,
    body: impl FnOnce(Box<Stream>) -> ResponseBody,
) -> Response<ResponseBody> {
    // The head is gone, or about to be: what follows may last for days.
    stream.header_lease = None;
    let connection = stream.connection.clone();
    for slot in connection.hcm.filters.iter().rev() {
        if !is_off(&stream, slot) {
            slot.filter.encode_headers(&mut stream, &mut parts);
        }
    }
    let upgrade = parts.status == StatusCode::SWITCHING_PROTOCOLS;
    headers::clean_response(&stream, &mut parts, upgrade);
    let method = stream.info.method.as_ref();
    framing::response(method, parts.status, &mut parts.headers, length);
    stream.info.response_code = parts.status.as_u16();
    stream.capture_response(&parts.headers);
    let http1 = stream
        .info
        .protocol
        .is_none_or(|version| version < Version::HTTP_2);
    // As Envoy: an HTTP/1 connection ends with a response that overtakes its request, because the rest of the
    // request may be long in coming, and must not be taken for the next.
    let close = stream.close_after || connection.is_spent() || stream.is_uploading();
    if !upgrade && (http1 && close || stream.closes_by_version) {
        parts
            .headers
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    parts.version = Version::HTTP_11;
    Response::from_parts(parts, body(stream))
}

/// The scheme that the connection itself has.
pub(super) fn connection_scheme(connection: &HttpConnection) -> Scheme {
    if connection.info.tls.is_some() {
        Scheme::Https
    } else {
        Scheme::Http
    }
}
