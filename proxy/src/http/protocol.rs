//! From what the HTTP library read to a [`RequestHead`]: authority, path and upgrade, whatever the version.

use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderValue, TRANSFER_ENCODING, UPGRADE,
};
use http::uri::PathAndQuery;
use http::{Method, StatusCode, Version, request};
use hyper::ext::Protocol;

use super::handler::{bad_request, connection_scheme};
use super::local_reply::LocalReply;
use super::stream::{HttpConnection, RequestHead, joined};
use crate::telemetry::stream_info::ResponseFlags;

/// The head of a request, with the answer if it is not acceptable.
pub fn head(
    connection: &HttpConnection,
    parts: request::Parts,
) -> (RequestHead, Option<Box<LocalReply>>) {
    let mut headers = parts.headers;
    let too_many = headers.len() > connection.hcm.limits.max_headers_count as usize;
    if let Some(authority) = parts.uri.authority() {
        // An absolute form overrules the host header (RFC 9112 section 3.2.2).
        if let Ok(authority) = HeaderValue::from_str(authority.as_str()) {
            headers.insert(HOST, authority);
        }
    }
    // Whoever sends both may mean one and make the next proxy believe the other (RFC 9112 section 6.1).
    let ambiguous_length =
        headers.contains_key(TRANSFER_ENCODING) && headers.contains_key(CONTENT_LENGTH);
    let has_path = parts.uri.path_and_query().is_some();
    let mut extensions = parts.extensions;
    let mut head = RequestHead {
        scheme: connection_scheme(connection),
        path: match parts.uri.into_parts().path_and_query {
            Some(path) => path,
            None => PathAndQuery::from_static("/"),
        },
        upgrade: requested_upgrade(&parts.method, parts.version, &headers, &extensions),
        version: parts.version,
        extensions: http::Extensions::new(),
        method: parts.method,
        headers,
    };
    if head.upgrade.is_some() || head.method == Method::CONNECT {
        std::mem::swap(&mut head.extensions, &mut extensions);
    }
    let refusal = refusal(connection, &mut head, too_many, ambiguous_length, has_path);
    (head, refusal)
}

fn refusal(
    connection: &HttpConnection,
    head: &mut RequestHead,
    too_many: bool,
    ambiguous_length: bool,
    has_path: bool,
) -> Option<Box<LocalReply>> {
    if too_many {
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        let flags = ResponseFlags::DOWNSTREAM_PROTOCOL_ERROR;
        let reply = LocalReply::empty(status, "http1.too_many_headers", flags).closing();
        return Some(Box::new(reply));
    }
    join_hosts(head);
    if !is_well_formed(head, ambiguous_length) {
        return Some(codec_error());
    }
    if let Err(reply) = check_http10(connection, head) {
        return Some(reply);
    }
    if !head.headers.contains_key(HOST) {
        return Some(Box::new(bad_request("missing_host_header").closing()));
    }
    if is_asterisk(head) && head.method == Method::OPTIONS {
        let status = StatusCode::NOT_FOUND;
        let flags = ResponseFlags::default();
        let reply = LocalReply::empty(status, "absolute_path_rejected", flags);
        return Some(Box::new(reply));
    }
    let needs_path = head.method != Method::CONNECT;
    (needs_path && !has_path).then(|| bad_request("missing_path_rejected"))
}

/// Several hosts become one that no virtual host has: such a request finds no route.
fn join_hosts(head: &mut RequestHead) {
    if head.headers.get_all(HOST).iter().nth(1).is_none() {
        return;
    }
    let joined = joined(&head.headers, HOST).and_then(|hosts| HeaderValue::from_bytes(&hosts).ok());
    if let Some(hosts) = joined {
        head.headers.insert(HOST, hosts);
    }
}

fn codec_error() -> Box<LocalReply> {
    let status = StatusCode::BAD_REQUEST;
    let flags = ResponseFlags::DOWNSTREAM_PROTOCOL_ERROR;
    let reply = LocalReply::new(status, "Bad Request", "http1.codec_error", flags);
    Box::new(reply.closing())
}

/// What hyper lets pass and Envoy's parser of HTTP/1 does not.
fn is_well_formed(head: &RequestHead, ambiguous_length: bool) -> bool {
    if head.version >= Version::HTTP_2 {
        return true;
    }
    let known = METHODS.contains(&head.method.as_str());
    let asterisk = is_asterisk(head) && head.method != Method::OPTIONS;
    known && head.path.as_str().is_ascii() && !asterisk && !ambiguous_length
}

/// `*` in place of a path.
fn is_asterisk(head: &RequestHead) -> bool {
    head.path.as_str() == "*"
}

/// The methods that Envoy knows (`allow_custom_methods` is off).
const METHODS: &[&str] = &[
    "GET",
    "POST",
    "PUT",
    "HEAD",
    "DELETE",
    "OPTIONS",
    "PATCH",
    "CONNECT",
    "TRACE",
    "ACL",
    "BIND",
    "CHECKOUT",
    "COPY",
    "LINK",
    "LOCK",
    "MERGE",
    "MKACTIVITY",
    "MKCALENDAR",
    "MKCOL",
    "MOVE",
    "MSEARCH",
    "M-SEARCH",
    "NOTIFY",
    "PROPFIND",
    "PROPPATCH",
    "PURGE",
    "REBIND",
    "REPORT",
    "SEARCH",
    "SOURCE",
    "SUBSCRIBE",
    "UNBIND",
    "UNLINK",
    "UNLOCK",
    "UNSUBSCRIBE",
];

/// HTTP/1.0 is for those who ask for it.
fn check_http10(
    connection: &HttpConnection,
    head: &mut RequestHead,
) -> Result<(), Box<LocalReply>> {
    if head.version >= Version::HTTP_11 {
        return Ok(());
    }
    let http10 = &connection.hcm.http10;
    if !http10.accept {
        let status = StatusCode::UPGRADE_REQUIRED;
        let flags = ResponseFlags::default();
        return Err(Box::new(
            LocalReply::empty(status, "low_version", flags).closing(),
        ));
    }
    if !head.headers.contains_key(HOST)
        && let Some(host) = &http10.default_host
    {
        head.headers.insert(HOST, host.clone());
    }
    Ok(())
}

/// The protocol that the client wants to switch to, lower case.
fn requested_upgrade(
    method: &Method,
    version: Version,
    headers: &HeaderMap,
    extensions: &http::Extensions,
) -> Option<Box<str>> {
    if version == Version::HTTP_2 {
        let protocol = extensions.get::<Protocol>()?;
        return (*method == Method::CONNECT).then(|| protocol.as_str().to_ascii_lowercase().into());
    }
    if *method == Method::CONNECT {
        return None;
    }
    let upgrade = headers.get(UPGRADE)?.to_str().ok()?;
    let nominated = joined(headers, CONNECTION)?;
    let is_upgrade = |token: &[u8]| token.trim_ascii().eq_ignore_ascii_case(b"upgrade");
    if !nominated.split(|byte| *byte == b',').any(is_upgrade) {
        return None;
    }
    // HTTP/2 by upgrade is obsolete (RFC 9113 section 3.1); such requests are answered in HTTP/1.
    (!upgrade.eq_ignore_ascii_case("h2c")).then(|| upgrade.to_ascii_lowercase().into())
}
