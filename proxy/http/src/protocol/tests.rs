//! Upgrades and HTTP/2 heads. What comes over HTTP/1 is tested with the socket, in `tests/http/malformed.rs`.

use super::*;

fn upgrade(version: Version, lines: &[(&'static str, &'static str)]) -> Option<Box<str>> {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, HeaderValue::from_static(value));
    }
    requested_upgrade(&Method::GET, version, &headers, &http::Extensions::new())
}

#[test]
fn every_line_is_read_for_upgrades() {
    let http11 = Version::HTTP_11;
    let websocket = ("upgrade", "WebSocket");
    let connection = ("connection", "Upgrade");
    let keep_alive = ("connection", "keep-alive");
    for (version, lines, expected) in [
        (http11, &[websocket, connection][..], Some("websocket")),
        (
            http11,
            &[websocket, keep_alive, connection],
            Some("websocket"),
        ),
        (http11, &[websocket, keep_alive], None),
        (http11, &[websocket], None),
        (
            http11,
            &[websocket, ("upgrade", "h2c"), connection],
            Some("websocket,h2c"),
        ),
        (http11, &[("upgrade", "h2c"), connection], None),
        (Version::HTTP_10, &[websocket, connection], None),
    ] {
        assert_eq!(upgrade(version, lines).as_deref(), expected, "{lines:?}");
    }
}

#[test]
fn schemes() {
    for (scheme, expected) in [
        ("http", true),
        ("ftp", true),
        ("a+b", true),
        ("", false),
        ("1", false),
    ] {
        assert_eq!(is_scheme(scheme), expected, "{scheme}");
    }
}

#[test]
fn a_query_without_a_path_gets_one() {
    let path = PathAndQuery::from_static("?x");
    assert_eq!(rooted(path.clone(), true).as_str(), "/?x");
    assert_eq!(rooted(path, false).as_str(), "?x");
}
