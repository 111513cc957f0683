//! One request, from the moment its head is read to the moment the head of its response is written.

use std::rc::Rc;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, HeaderName, HeaderValue, LOCATION};
use http::uri::PathAndQuery;
use http::{Method, Request, Response, StatusCode, Version};
use hyper::body::{Body, Incoming};

use super::body::response::ResponseBody;
use super::filter::{ReplyOrigin, Side, run};
use super::header_memory::{Exhausted, Lease};
use super::local_reply::LocalReply;
use super::path::{self, Cleaned};
use super::protocol::{Rejected, Reset, bad_request};
use super::refusal::Refusal;
use super::request_id::X_REQUEST_ID;
use super::respond::{answer, reply};
use super::route::choose;
use super::route::matcher::without_port;
use super::stream::{HttpConnection, RequestHead, Stream, is_grpc_content_type, joined};
use super::{body, header_memory, headers, protocol, route, router};
use crate::config::http::StripHostPort;
use crate::telemetry::stream_info::{ResponseFlags, StreamInfo};

const FORCE_TRACE: HeaderName = HeaderName::from_static("x-envoy-force-trace");

/// Answers one request, or says why its stream is reset.
pub async fn handle(
    connection: Rc<HttpConnection>,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, h2::Error> {
    let (parts, body) = request.into_parts();
    let mut stream = begin(connection, &parts, body.is_end_stream());
    let leased = lease_headers(&mut stream, &parts);
    let (mut head, checked) = protocol::head(&stream.connection, parts);
    stream.close_after = protocol::ends_connection(&head);
    let prepared = match leased.and(checked) {
        Ok(()) => prepare(&mut stream, &mut head),
        Err(Rejected::Reply(answer)) => Err(answer),
        Err(Rejected::Reset(reset)) => return Err(end_by_reset(stream, reset)),
    };
    if let Err(answer) = prepared {
        stream.connection.count_refusal(answer.flags, answer.status);
        stream.capture_request(&head);
        return Ok(reply(stream, *answer, ReplyOrigin::Connection).await);
    }
    let mut body = body::of_client(body, &stream, head.version);
    match run::request(&mut stream, Side::Downstream, &mut head, &mut body).await {
        Ok(()) => Ok(router::route(stream, head, body).await),
        Err(answered) => {
            stream.capture_request(&head);
            Ok(answer(stream, answered).await)
        }
    }
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

fn begin(
    connection: Rc<HttpConnection>,
    parts: &http::request::Parts,
    complete: bool,
) -> Box<Stream> {
    let mut info = StreamInfo::new(connection.info.clone());
    info.protocol = Some(parts.version);
    info.method = Some(parts.method.clone());
    info.grpc = is_grpc_content_type(&parts.headers);
    let view = connection.worker.view();
    connection.begin_request(info.protocol);
    let mut stream = Box::new(Stream::new(connection, view, info, complete));
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
    choose::first(stream, table, head)
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
