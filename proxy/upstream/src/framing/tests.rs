use http::uri::PathAndQuery;

use super::*;
use crate::config::request::Scheme;

fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, HeaderValue::from_static(value));
    }
    headers
}

/// The headers in the order of their names.
fn lines(headers: &HeaderMap) -> Vec<(&str, &str)> {
    let line = |(name, value): (_, _)| {
        let (name, value): (&HeaderName, &HeaderValue) = (name, value);
        (name.as_str(), value.to_str().unwrap())
    };
    let mut lines: Vec<_> = headers.iter().map(line).collect();
    lines.sort_unstable();
    lines
}

fn check_request(
    method: &str,
    version: Version,
    upgrade: Option<&str>,
    length: Option<u64>,
    before: &[(&'static str, &'static str)],
    after: &[(&str, &str)],
) {
    let head = RequestHead {
        method: method.parse().unwrap(),
        scheme: Scheme::Http,
        path: PathAndQuery::from_static("/"),
        headers: HeaderMap::new(),
        version: Version::HTTP_11,
        extensions: http::Extensions::new(),
        upgrade: upgrade.map(Into::into),
    };
    let mut headers = map(before);
    request(&head, &mut headers, version, length);
    assert_eq!(
        lines(&headers),
        after,
        "{method} {version:?} {upgrade:?} {length:?} {before:?}"
    );
}

const H1: Version = Version::HTTP_11;
const H2: Version = Version::HTTP_2;

#[test]
fn a_request_without_content_announces_none() {
    let stale = [("content-length", "5"), ("transfer-encoding", "chunked")];
    let zero = [("content-length", "0")];
    for method in ["GET", "HEAD", "DELETE", "TRACE"] {
        check_request(method, H1, None, Some(0), &stale, &[]);
        check_request(method, H1, None, Some(0), &zero, &zero);
        check_request(method, H2, None, Some(0), &stale, &[]);
    }
    for method in ["POST", "PUT", "PATCH", "OPTIONS", "PROPFIND"] {
        check_request(method, H1, None, Some(0), &stale, &zero);
        check_request(method, H1, None, Some(0), &[], &zero);
        check_request(method, H2, None, Some(0), &stale, &[]);
    }
}

#[test]
fn a_known_length_is_announced_exactly_and_once() {
    let five = [("content-length", "5")];
    for before in [
        &five[..],
        &[],
        &[("content-length", "99")],
        &[("content-length", "05")],
        &[("content-length", "+5")],
        &[("content-length", "5, 5")],
        &[("content-length", "5"), ("content-length", "5")],
        &[("content-length", "5"), ("transfer-encoding", "chunked")],
        &[("content-length", "99999999999999999999")],
    ] {
        for method in ["GET", "HEAD", "POST", "OPTIONS"] {
            check_request(method, H1, None, Some(5), before, &five);
            check_request(method, H2, None, Some(5), before, &five);
        }
    }
}

#[test]
fn an_unknown_length_is_chunked_whatever_the_method() {
    let chunked = [("transfer-encoding", "chunked")];
    for before in [
        &[][..],
        &[("content-length", "99")],
        &[("transfer-encoding", "gzip")],
        &[
            ("transfer-encoding", "chunked"),
            ("transfer-encoding", "chunked"),
        ],
    ] {
        for method in ["GET", "HEAD", "DELETE", "OPTIONS", "TRACE", "POST"] {
            check_request(method, H1, None, None, before, &chunked);
            check_request(method, H2, None, None, before, &[]);
        }
    }
}

#[test]
fn what_belongs_to_a_connection_is_not_forwarded() {
    let before = [
        ("connection", "x-a"),
        ("connection", "close"),
        ("keep-alive", "3"),
        ("proxy-connection", "close"),
        ("te", "gzip"),
        ("upgrade", "websocket"),
        ("x-a", "1"),
    ];
    for version in [H1, H2] {
        check_request("GET", version, None, Some(0), &before, &[("x-a", "1")]);
        let trailers = [("te", "trailers")];
        check_request("GET", version, None, Some(0), &trailers, &trailers);
    }
}

#[test]
fn an_upgrade_asks_for_one_protocol_as_the_client_spelled_it() {
    let asks = |kind| [("connection", "upgrade"), ("upgrade", kind)];
    let kind = Some("websocket");
    for (before, spelled) in [
        (&[("upgrade", "WebSocket")][..], "WebSocket"),
        (&[], "websocket"),
        (&[("upgrade", "other")], "websocket"),
        (
            &[("upgrade", "websocket"), ("upgrade", "other")],
            "websocket",
        ),
        (&[("connection", "close, upgrade")], "websocket"),
    ] {
        check_request("GET", H1, kind, Some(0), before, &asks(spelled));
    }
    check_request("GET", H2, kind, Some(0), &asks("websocket"), &[]);
    let with_body = [
        ("connection", "upgrade"),
        ("content-length", "5"),
        ("upgrade", "websocket"),
    ];
    check_request("POST", H1, kind, Some(5), &with_body, &with_body);
}

#[test]
fn a_response_announces_what_is_sent() {
    let check = |method: &str, status: u16, length, before: &[_], after: &[_]| {
        let mut headers = map(before);
        let method = method.parse().unwrap();
        let status = StatusCode::from_u16(status).unwrap();
        response(Some(&method), status, &mut headers, length);
        assert_eq!(
            lines(&headers),
            after,
            "{method} {status} {length:?} {before:?}"
        );
    };
    let (two, wrong) = ([("content-length", "2")], [("content-length", "99")]);
    check("GET", 200, Some(2), &two, &two);
    check("GET", 200, Some(2), &wrong, &two);
    check("GET", 200, Some(2), &[], &two);
    check("GET", 200, Some(0), &wrong, &[]);
    check("GET", 200, None, &wrong, &[]);
    check(
        "GET",
        200,
        Some(2),
        &[("transfer-encoding", "chunked")],
        &two,
    );
    check("HEAD", 200, Some(0), &wrong, &wrong);
    check("HEAD", 200, Some(0), &[("content-length", "9, 9")], &[]);
    check("GET", 304, Some(0), &wrong, &wrong);
    check("GET", 204, Some(0), &wrong, &[]);
    check("HEAD", 204, Some(0), &wrong, &[]);
    check("GET", 101, Some(0), &wrong, &[]);
    check("CONNECT", 200, Some(0), &wrong, &[]);
    check("CONNECT", 403, Some(2), &wrong, &two);
}

/// What Envoy 1.40 forwards and what it refuses with 502.
#[test]
fn a_doubtful_response_is_refused() {
    let check = |sound, status, lines: &[_]| {
        let status = StatusCode::from_u16(status).unwrap();
        assert_eq!(
            is_sound(status, &map(lines), None),
            sound,
            "{status} {lines:?}"
        );
    };
    let chunked = ("transfer-encoding", "chunked");
    let two = ("content-length", "2");
    check(true, 200, &[]);
    check(true, 200, &[two]);
    check(true, 200, &[("content-length", "002")]);
    check(true, 200, &[chunked]);
    check(true, 200, &[("transfer-encoding", "Chunked")]);
    check(true, 204, &[("content-length", "0")]);
    check(true, 304, &[two]);
    check(true, 304, &[chunked]);
    check(false, 200, &[chunked, two]);
    check(false, 200, &[chunked, ("content-length", "0")]);
    check(false, 200, &[chunked, chunked]);
    check(false, 200, &[("transfer-encoding", "gzip")]);
    check(false, 200, &[("transfer-encoding", "gzip, chunked")]);
    check(false, 200, &[("transfer-encoding", "identity"), two]);
    check(false, 200, &[two, ("content-length", "3")]);
    check(false, 200, &[two, two]);
    check(false, 200, &[("content-length", "2, 2")]);
    check(false, 200, &[("content-length", "+2")]);
    check(false, 200, &[("content-length", "")]);
    check(false, 200, &[("content-length", "99999999999999999999")]);
    check(false, 204, &[two]);
    check(false, 204, &[chunked]);
    check(
        false,
        101,
        &[("connection", "upgrade"), ("upgrade", "websocket")],
    );
}

#[test]
fn a_101_grants_exactly_what_was_asked() {
    let check = |sound, lines: &[_]| {
        let status = StatusCode::SWITCHING_PROTOCOLS;
        assert_eq!(
            is_sound(status, &map(lines), Some("websocket")),
            sound,
            "{lines:?}"
        );
    };
    let upgrade = ("connection", "Upgrade");
    check(true, &[upgrade, ("upgrade", "websocket")]);
    check(true, &[upgrade, ("upgrade", "WebSocket")]);
    check(
        true,
        &[
            ("connection", "keep-alive, upgrade"),
            ("upgrade", "websocket"),
        ],
    );
    check(
        true,
        &[upgrade, ("upgrade", "websocket"), ("content-length", "0")],
    );
    check(false, &[]);
    check(false, &[upgrade]);
    check(false, &[("upgrade", "websocket")]);
    check(false, &[upgrade, ("upgrade", "other")]);
    check(false, &[upgrade, ("upgrade", "websocket, other")]);
    check(
        false,
        &[upgrade, ("upgrade", "websocket"), ("upgrade", "other")],
    );
    check(
        false,
        &[upgrade, ("upgrade", "websocket"), ("content-length", "2")],
    );
}

#[test]
fn a_connection_that_speaks_http10_is_not_used_again() {
    let keep_alive = map(&[("connection", "keep-alive")]);
    assert!(ends_connection(Version::HTTP_10, &keep_alive));
    assert!(!ends_connection(H1, &keep_alive));
    assert!(ends_connection(H1, &map(&[("proxy-connection", "close")])));
}
