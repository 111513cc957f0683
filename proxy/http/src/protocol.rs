//! From what the HTTP library read to a [`RequestHead`]: authority, path and upgrade, whatever the version; and the
//! requests that the library takes although they are malformed.
//!
//! The rules are those of Envoy's codecs, measured; where they differ it is said. What the library itself refuses,
//! and what it hides, is judged in [`super::server::http1_io`].

use bytes::Bytes;
use h2::Reason;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderValue, UPGRADE};
use http::uri::PathAndQuery;
use http::{Method, StatusCode, Uri, Version, request};
use hyper::ext::Protocol;

use super::header_memory::text_bytes;
use super::local_reply::LocalReply;
use super::refusal::Refusal;
use super::stream::{HttpConnection, RequestHead, Scheme, joined};
use crate::config::http::HttpLimits;
use crate::telemetry::stream_info::ResponseFlags;

pub mod authority;

use authority::{is_host, is_http2_authority, is_target_authority};

/// What happens to a request that is not acceptable.
#[derive(Debug)]
pub enum Rejected {
    /// It is answered.
    Reply(Box<LocalReply>),
    /// Its stream is reset, as HTTP/2 asks for malformed requests (RFC 9113 section 8.1.1).
    Reset(Reset),
}

/// Why a stream is reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reset {
    /// What the client is told.
    pub reason: Reason,
    /// `%RESPONSE_CODE_DETAILS%`.
    pub details: &'static str,
    /// Flags to set.
    pub flags: ResponseFlags,
}

impl From<Box<LocalReply>> for Rejected {
    fn from(reply: Box<LocalReply>) -> Self {
        Self::Reply(reply)
    }
}

impl From<Refusal> for Rejected {
    fn from(refusal: Refusal) -> Self {
        Self::Reply(Box::new(refusal.reply()))
    }
}

/// The head of a request, with what happens if it is not acceptable.
pub fn head(
    connection: &HttpConnection,
    parts: request::Parts,
) -> (RequestHead, Result<(), Rejected>) {
    let mut checked = if parts.version == Version::HTTP_2 {
        check_http2(&connection.hcm.limits, &parts).map_err(Rejected::Reset)
    } else {
        check_http1(connection, &parts).map_err(Rejected::from)
    };
    let mut headers = parts.headers;
    let has_authority = parts.uri.authority().is_some();
    if let Some(authority) = parts.uri.authority() {
        // `:authority` and an absolute form overrule the host header (RFC 9113 section 8.3.1, RFC 9112 section 3.2.2).
        if let Ok(authority) = HeaderValue::from_str(authority.as_str()) {
            headers.insert(HOST, authority);
        }
    }
    let mut extensions = parts.extensions;
    let path = parts.uri.into_parts().path_and_query;
    let has_path = path.is_some();
    let mut head = RequestHead {
        scheme: connection_scheme(connection),
        path: path.map_or_else(
            || PathAndQuery::from_static("/"),
            |path| rooted(path, has_authority),
        ),
        upgrade: requested_upgrade(&parts.method, parts.version, &headers, &extensions),
        version: parts.version,
        extensions: http::Extensions::new(),
        method: parts.method,
        headers,
    };
    if head.upgrade.is_some() || head.method == Method::CONNECT {
        std::mem::swap(&mut head.extensions, &mut extensions);
    }
    if checked.is_ok() {
        checked = check_head(connection, &mut head, has_path).map_err(Rejected::from);
    }
    (head, checked)
}

/// The path of `http://host?query` is `/` (RFC 9112 section 3.2.1).
fn rooted(path: PathAndQuery, has_authority: bool) -> PathAndQuery {
    if !has_authority || !path.as_str().starts_with('?') {
        return path;
    }
    // Written out it has its slash.
    let rooted = Bytes::from(path.to_string());
    PathAndQuery::from_maybe_shared(rooted).unwrap_or(path)
}

pub(super) fn bad_request(details: &'static str) -> Box<LocalReply> {
    let flags = ResponseFlags::default();
    Box::new(LocalReply::empty(StatusCode::BAD_REQUEST, details, flags))
}

/// The scheme that the connection itself has.
fn connection_scheme(connection: &HttpConnection) -> Scheme {
    if connection.info.tls.is_some() {
        Scheme::Https
    } else {
        Scheme::Http
    }
}

/// What both protocols are judged by.
fn check_head(
    connection: &HttpConnection,
    head: &mut RequestHead,
    has_path: bool,
) -> Result<(), Box<LocalReply>> {
    join_hosts(head);
    check_http10(connection, head)?;
    if !head.headers.contains_key(HOST) {
        return Err(Box::new(bad_request("missing_host_header").closing()));
    }
    if head.path.as_str() == "*" && head.method == Method::OPTIONS {
        let status = StatusCode::NOT_FOUND;
        let flags = ResponseFlags::default();
        return Err(Box::new(LocalReply::empty(
            status,
            "absolute_path_rejected",
            flags,
        )));
    }
    if head.method != Method::CONNECT && !has_path {
        return Err(bad_request("missing_path_rejected"));
    }
    Ok(())
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

/// What hyper lets pass and Envoy's parser of HTTP/1 does not.
fn check_http1(connection: &HttpConnection, parts: &request::Parts) -> Result<(), Refusal> {
    if !METHODS.contains(&parts.method.as_str()) {
        return Err(Refusal::Codec);
    }
    check_target(connection, &parts.method, &parts.uri)?;
    let mut hosts = parts.headers.get_all(HOST).iter();
    if !hosts.all(|host| is_host(host.as_bytes())) {
        return Err(Refusal::InvalidAuthority);
    }
    Ok(())
}

/// Each method takes its forms of target only (RFC 9112 section 3.2).
fn check_target(connection: &HttpConnection, method: &Method, uri: &Uri) -> Result<(), Refusal> {
    let path = uri.path_and_query().map_or("", PathAndQuery::as_str);
    let authority = uri.authority().map(http::uri::Authority::as_str);
    if *method == Method::CONNECT {
        let with_port = authority.filter(|_| uri.port_u16().is_some());
        let acceptable = with_port.is_some_and(is_target_authority);
        let alone = uri.scheme().is_none() && path.is_empty();
        return ensure(acceptable && alone, Refusal::InvalidTarget);
    }
    match (uri.scheme_str(), authority) {
        (None, None) => {
            let asterisk = path == "*" && *method == Method::OPTIONS;
            let origin = path.starts_with('/') && path.is_ascii();
            ensure(origin || asterisk, Refusal::InvalidTarget)
        }
        (Some(scheme), Some(authority)) => {
            match scheme {
                "http" => {}
                "https" if connection_scheme(connection) == Scheme::Https => {}
                "https" => return Err(Refusal::HttpsOnPlaintext),
                _ => return Err(Refusal::InvalidScheme),
            }
            let acceptable = is_target_authority(authority) && path.is_ascii();
            ensure(acceptable, Refusal::InvalidTarget)
        }
        _ => Err(Refusal::InvalidTarget),
    }
}

/// What h2 lets pass and Envoy does not.
fn check_http2(limits: &HttpLimits, parts: &request::Parts) -> Result<(), Reset> {
    let (uri, headers) = (&parts.uri, &parts.headers);
    if entries(uri, headers) > limits.max_headers_count as usize {
        return Err(Reset::too_large("http2.too_many_headers"));
    }
    if text_bytes(&parts.method, uri, headers) > limits.max_headers_bytes as usize {
        return Err(Reset::too_large("http2.header_list_size_too_large"));
    }
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next();
    let authority = uri
        .authority()
        .map(|authority| authority.as_str().as_bytes());
    let named = authority.into_iter().chain(host.map(HeaderValue::as_bytes));
    let is_valid = hosts.next().is_none()
        && (authority.is_some() || host.is_some())
        && named.into_iter().all(is_http2_authority)
        && uri.scheme_str().is_none_or(is_scheme)
        && is_http2_path(&parts.method, uri)
        && headers.get_all(CONTENT_LENGTH).iter().nth(1).is_none();
    ensure(is_valid, Reset::MALFORMED)
}

/// The entries of an HTTP/2 header list: `:method`, the other pseudo headers, and the headers.
pub fn entries(uri: &Uri, headers: &HeaderMap) -> usize {
    let pseudo = [
        uri.scheme().is_some(),
        uri.authority().is_some(),
        uri.path_and_query().is_some(),
    ];
    1 + pseudo.into_iter().filter(|there| *there).count() + headers.len()
}

/// `:path` begins with `/`, or is `*` for OPTIONS (RFC 9113 section 8.3.1).
fn is_http2_path(method: &Method, uri: &Uri) -> bool {
    let Some(path) = uri.path_and_query() else {
        return *method == Method::CONNECT;
    };
    path.as_str().starts_with('/') || (path == "*" && *method == Method::OPTIONS)
}

/// A scheme by RFC 3986 section 3.1.
fn is_scheme(scheme: &str) -> bool {
    let rest = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    scheme.starts_with(|first: char| first.is_ascii_alphabetic()) && scheme.bytes().all(rest)
}

impl Reset {
    const MALFORMED: Self = Self {
        reason: Reason::PROTOCOL_ERROR,
        details: "http2.violation.of.messaging.rule",
        flags: ResponseFlags::DOWNSTREAM_PROTOCOL_ERROR,
    };

    /// More header memory than one connection may hold ([`super::header_memory`]).
    pub const HEADER_MEMORY: Self = Self {
        reason: Reason::ENHANCE_YOUR_CALM,
        details: "http2.header_memory_exhausted",
        flags: ResponseFlags::DOWNSTREAM_REMOTE_RESET,
    };

    fn too_large(details: &'static str) -> Self {
        Self {
            reason: Reason::INTERNAL_ERROR,
            details,
            flags: ResponseFlags::DOWNSTREAM_REMOTE_RESET,
        }
    }
}

fn ensure<E>(holds: bool, error: E) -> Result<(), E> {
    if holds { Ok(()) } else { Err(error) }
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
    // Before HTTP/1.1 there are no upgrades (RFC 9110 section 7.8). Differs from Envoy, which takes them.
    if *method == Method::CONNECT || version != Version::HTTP_11 {
        return None;
    }
    // Several lines are one list, which is no type that could be allowed: all of it would go on.
    let upgrade = joined(headers, UPGRADE)?;
    let upgrade = std::str::from_utf8(&upgrade).ok()?;
    let nominated = joined(headers, CONNECTION)?;
    let is_upgrade = |token: &[u8]| token.trim_ascii().eq_ignore_ascii_case(b"upgrade");
    if !nominated.split(|byte| *byte == b',').any(is_upgrade) {
        return None;
    }
    // HTTP/2 by upgrade is obsolete (RFC 9113 section 3.1); such requests are answered in HTTP/1.
    (!upgrade.eq_ignore_ascii_case("h2c")).then(|| upgrade.to_ascii_lowercase().into())
}

/// True if the connection ends with this HTTP/1 request unless the upgrade is granted, whoever answers: behind it may
/// follow bytes of another protocol, which the scanner does not look at ([`super::server::framing`]).
pub fn ends_connection(head: &RequestHead) -> bool {
    if head.version >= Version::HTTP_2 {
        return false;
    }
    let upgrade = joined(&head.headers, UPGRADE);
    head.method == Method::CONNECT || upgrade.is_some_and(|kind| !kind.eq_ignore_ascii_case(b"h2c"))
}

#[cfg(test)]
mod tests;
