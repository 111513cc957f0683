//! The one place that decides how a message is delimited (RFC 9110 section 6.4, RFC 9112 section 6).
//!
//! The framing of what is sent follows from the body that is really sent. What the peer announced only stays where
//! it agrees with that body, and what route configuration or a filter wrote into these headers never counts.
//! Differs from Envoy, which sends a `content-length`, `transfer-encoding`, `connection` or `upgrade` of
//! `request_headers_to_add` as it stands.

use http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::{Method, StatusCode, Version};
use http_body::Body;

use crate::config::request::{RequestHead, joined};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const CHUNKED: HeaderValue = HeaderValue::from_static("chunked");

/// The length of a body that nothing was taken from yet; `None` if it is known at its end only.
pub fn length(body: &impl Body) -> Option<u64> {
    if body.is_end_stream() {
        return Some(0);
    }
    body.size_hint().exact()
}

/// Frames a request that goes upstream with a body of this length ([`length`]).
///
/// A body of unknown length is chunked over HTTP/1 whatever the method is: hyper sends a GET or HEAD without it
/// unless the header says so. Over HTTP/2 the end of the stream ends it.
pub fn request(head: &RequestHead, headers: &mut HeaderMap, version: Version, length: Option<u64>) {
    let http1 = version < Version::HTTP_2;
    let asked = headers.remove(UPGRADE);
    for name in [CONNECTION, KEEP_ALIVE, PROXY_CONNECTION, TRANSFER_ENCODING] {
        headers.remove(name);
    }
    if headers.get(TE).is_some_and(|te| te != "trailers") {
        headers.remove(TE);
    }
    if http1 && let Some(kind) = head.upgrade.as_deref() {
        ask_for_upgrade(headers, kind, asked);
    }
    match length {
        Some(0) if !announces(headers, 0) => {
            headers.remove(CONTENT_LENGTH);
            if http1 && calls_for_content(&head.method) {
                headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
            }
        }
        Some(length) if !announces(headers, length) => {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        Some(_) => {}
        None => {
            headers.remove(CONTENT_LENGTH);
            if http1 {
                headers.insert(TRANSFER_ENCODING, CHUNKED);
            }
        }
    }
}

/// Exactly one protocol, spelled as the client spelled it.
fn ask_for_upgrade(headers: &mut HeaderMap, kind: &str, asked: Option<HeaderValue>) {
    let same = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(kind.as_bytes());
    let upgrade = match asked.filter(same) {
        Some(upgrade) => upgrade,
        None => match HeaderValue::from_str(kind) {
            Ok(upgrade) => upgrade,
            Err(_) => return,
        },
    };
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, upgrade);
}

/// True for methods that say so when they have no content (RFC 9110 section 8.6).
fn calls_for_content(method: &Method) -> bool {
    !matches!(
        *method,
        Method::GET | Method::HEAD | Method::DELETE | Method::CONNECT | Method::TRACE
    )
}

/// Frames a response to the client with a body of this length ([`length`]). The HTTP library adds what the
/// protocol calls for where nothing is announced: `content-length: 0`, chunks, or the end of the connection.
pub fn response(
    method: Option<&Method>,
    status: StatusCode,
    headers: &mut HeaderMap,
    length: Option<u64>,
) {
    headers.remove(TRANSFER_ENCODING);
    if has_no_content_length(method, status) {
        headers.remove(CONTENT_LENGTH);
        return;
    }
    if method == Some(&Method::HEAD) || status == StatusCode::NOT_MODIFIED {
        // It describes the response to a GET (RFC 9110 section 8.6): nothing of it is sent.
        if announced(headers).is_none() {
            headers.remove(CONTENT_LENGTH);
        }
        return;
    }
    match length {
        Some(length) if announces(headers, length) => {}
        None | Some(0) => drop(headers.remove(CONTENT_LENGTH)),
        Some(length) => drop(headers.insert(CONTENT_LENGTH, HeaderValue::from(length))),
    }
}

/// True for responses that have no body whatever they announce (RFC 9110 section 6.4.1).
pub fn is_bodiless(method: Option<&Method>, status: StatusCode) -> bool {
    method == Some(&Method::HEAD)
        || status == StatusCode::NOT_MODIFIED
        || has_no_content_length(method, status)
}

/// True for responses in which RFC 9110 section 8.6 forbids the header.
fn has_no_content_length(method: Option<&Method>, status: StatusCode) -> bool {
    status.is_informational()
        || status == StatusCode::NO_CONTENT
        || (method == Some(&Method::CONNECT) && status.is_success())
}

/// True if a response over HTTP/1 says without doubt where it ends. Others are protocol errors of the upstream
/// (502, flag UPE), as with Envoy: a next hop could read them differently (RFC 9112 section 6.3).
///
/// `upgrade` is what the request asked for: a 101 must grant exactly that (RFC 9110 section 7.8). Differs from
/// Envoy, which passes a 101 that was not asked for, or that switches to something else, to the client.
pub fn is_sound(status: StatusCode, headers: &HeaderMap, upgrade: Option<&str>) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let coding = codings.next();
    let chunked = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    if codings.next().is_some() || !coding.is_none_or(chunked) {
        return false;
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let length = lengths.next();
    let known = length.map(|length| decimal(length.as_bytes()));
    if lengths.next().is_some() || known == Some(None) || (coding.is_some() && length.is_some()) {
        return false;
    }
    let bodiless = status.is_informational() || status == StatusCode::NO_CONTENT;
    if bodiless && (coding.is_some() || !matches!(known, None | Some(Some(0)))) {
        return false;
    }
    status != StatusCode::SWITCHING_PROTOCOLS || grants(headers, upgrade)
}

fn grants(headers: &HeaderMap, asked: Option<&str>) -> bool {
    let granted = joined(headers, UPGRADE);
    let (Some(asked), Some(granted)) = (asked, granted) else {
        return false;
    };
    let connection = joined(headers, CONNECTION).unwrap_or_default();
    let mut tokens = connection.split(|byte| *byte == b',');
    granted.trim_ascii().eq_ignore_ascii_case(asked.as_bytes())
        && tokens.any(|token| token.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
}

/// True if an HTTP/1 server will not take a further request on the connection for reasons that hyper does not
/// know: it would speak HTTP/1.0 from then on, in which a body of unknown length is lost.
pub fn ends_connection(version: Version, headers: &HeaderMap) -> bool {
    version < Version::HTTP_11
        || headers
            .get(PROXY_CONNECTION)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"close"))
}

/// True if `content-length` is there once, in its shortest form, and says this.
fn announces(headers: &HeaderMap, length: u64) -> bool {
    let shortest = |value: &HeaderValue| {
        let bytes = value.as_bytes();
        bytes.len() == 1 || bytes.first() != Some(&b'0')
    };
    announced(headers) == Some(length) && headers.get(CONTENT_LENGTH).is_some_and(shortest)
}

fn announced(headers: &HeaderMap) -> Option<u64> {
    let mut values = headers.get_all(CONTENT_LENGTH).iter();
    let value = values.next()?;
    match values.next() {
        Some(_) => None,
        None => decimal(value.as_bytes()),
    }
}

/// Digits only: `+5` and `0x5` are numbers to some parsers and none to others.
fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests;
