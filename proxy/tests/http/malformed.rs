//! Requests that are not well-formed, byte by byte as they come: over HTTP/1 each has its status, its text and the end
//! of the connection; over HTTP/2 its stream is reset, or its connection ends. None reaches the upstream.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use http::Response;
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::http2_frames::{Client, Event, literal};
use super::upstream::{counter, proxy, text, upstream};
use crate::harness::{LIMIT, Proxy};

const BAD_REQUEST: (u16, &str) = (400, "Bad Request");
const NOT_IMPLEMENTED: (u16, &str) = (501, "Not Implemented");
const TOO_LARGE: (u16, &str) = (431, "Request Header Fields Too Large");

/// A proxy with an upstream that counts the requests that it gets whole.
struct Fixture {
    proxy: Proxy,
    requests: Arc<AtomicU32>,
}

impl Fixture {
    async fn start() -> Self {
        let requests = Arc::new(AtomicU32::new(0));
        let counted = requests.clone();
        let server = upstream(move |request| {
            let counted = counted.clone();
            async move {
                if request.into_body().collect().await.is_ok() {
                    counted.fetch_add(1, Ordering::SeqCst);
                }
                Response::new(text("ok"))
            }
        })
        .await;
        let upgrades = "upgrade_configs: [{ upgrade_type: websocket }],";
        Self {
            proxy: proxy("cluster: up", upgrades, &[("up", server, "")]).await,
            requests,
        }
    }

    /// Status and body of each response, until the proxy closes the connection. Our side stays open.
    async fn answers(&self, bytes: &[u8]) -> Vec<(u16, String)> {
        let mut stream = self.proxy.connect("in").await;
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        let reading = stream.read_to_end(&mut answer);
        let name = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
        tokio::time::timeout(LIMIT, reading)
            .await
            .unwrap_or_else(|_| panic!("the connection stays open: {name:?}"))
            .unwrap();
        parse(&answer)
    }

    async fn is_refused(&self, bytes: &[u8], (status, text): (u16, &str)) {
        let before = self.requests.load(Ordering::SeqCst);
        let answers = self.answers(bytes).await;
        let name = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]);
        assert_eq!(answers, [(status, text.to_owned())], "{name:?}");
        assert_eq!(self.requests.load(Ordering::SeqCst), before, "{name:?}");
    }
}

/// The responses one after the other. Those of the proxy's own carry what Envoy's carry.
fn parse(mut bytes: &[u8]) -> Vec<(u16, String)> {
    let mut answers = Vec::new();
    while !bytes.is_empty() {
        let mut storage = [httparse::EMPTY_HEADER; 16];
        let mut head = httparse::Response::new(&mut storage);
        let parsed = head.parse(bytes).unwrap();
        let httparse::Status::Complete(length) = parsed else {
            panic!("a whole head: {:?}", String::from_utf8_lossy(bytes));
        };
        let header = |name: &str| {
            let mut found = head.headers.iter().filter(|header| header.name == name);
            found
                .next()
                .map(|header| String::from_utf8_lossy(header.value).into_owned())
        };
        let body: usize = header("content-length").unwrap().parse().unwrap();
        let status = head.code.unwrap();
        assert!(header("date").is_some(), "{status}");
        assert_eq!(header("server").as_deref(), Some("envoy"), "{status}");
        if status >= 400 {
            assert_eq!(header("connection").as_deref(), Some("close"), "{status}");
            let kind = (body > 0).then_some("text/plain");
            assert_eq!(header("content-type").as_deref(), kind, "{status}");
        }
        let text = &bytes[length..length + body];
        answers.push((status, String::from_utf8(text.to_vec()).unwrap()));
        bytes = &bytes[length + body..];
    }
    answers
}

fn get(lines: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n").into_bytes()
}

fn post(lines: &str) -> Vec<u8> {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n3\r\nabc\r\n0\r\n\r\n").into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_and_targets() {
    let fixture = Fixture::start().await;
    for host in [
        &b"a b"[..],
        b"a/b",
        b"a#b",
        b"a?b",
        b"a@b",
        b"u:p@a",
        b"a\\b",
        b"a\"b",
        b"a<b",
        b"a{b",
        b"a|b",
        b"a^b",
        b"a`b",
        b"a\x01b",
        b"a\x7fb",
        b"a\x80b",
        b"caf\xc3\xa9",
        b"a\tb",
    ] {
        let request = [b"GET / HTTP/1.1\r\nHost: ", host, b"\r\n\r\n"].concat();
        fixture.is_refused(&request, BAD_REQUEST).await;
    }
    for (method, target) in [
        ("GET", "ftp://a/"),
        ("GET", "ws://a/"),
        ("GET", "http://u@a/"),
        ("GET", "http://u:p@a/"),
        ("GET", "http:///x"),
        ("GET", "http://a:99999/"),
        ("GET", "http://a:b/"),
        ("GET", "http://[::1/"),
        ("GET", "http://a%2eb/"),
        ("GET", "http://a#x"),
        ("GET", "http:x"),
        ("GET", "a:80"),
        ("GET", "x"),
        ("GET", "?x"),
        ("GET", "*"),
        ("POST", "*"),
        ("GET", "/a b"),
        ("GET", "/\u{e9}"),
        ("get", "/"),
        ("FOO", "/"),
        ("CONNECT", "/x"),
        ("CONNECT", "a"),
        ("CONNECT", "u@a:80"),
        ("CONNECT", "http://a/"),
    ] {
        let request = format!("{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        fixture.is_refused(request.as_bytes(), BAD_REQUEST).await;
    }
    let fragment = b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n";
    fixture.is_refused(fragment, (400, "")).await;
    let https = b"GET https://a/ HTTP/1.1\r\nHost: a\r\n\r\n";
    fixture.is_refused(https, (403, "Forbidden")).await;
    fixture
        .is_refused(b"GET / HTTP/1.1\r\n\r\n", (400, ""))
        .await;
    fixture.proxy.data_plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn framing() {
    let fixture = Fixture::start().await;
    for coding in [
        "gzip, chunked",
        "chunked, chunked",
        "chunked;x=1",
        "identity",
        "gzip",
        "",
        "chunked,",
        "xchunked",
        "chunked\r\nTransfer-Encoding: chunked",
        "gzip\r\nTransfer-Encoding: chunked",
    ] {
        let request = post(&format!("Transfer-Encoding: {coding}\r\n"));
        fixture.is_refused(&request, NOT_IMPLEMENTED).await;
    }
    for length in [
        "+3",
        "3, 3",
        "0x3",
        "-3",
        "3.0",
        "99999999999999999999",
        "",
        "3\r\nContent-Length: 4",
        "3\r\nContent-Length: 3",
    ] {
        let request = post(&format!("Content-Length: {length}\r\n"));
        fixture.is_refused(&request, BAD_REQUEST).await;
    }
    for lines in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
        "Connection: upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n",
    ] {
        fixture.is_refused(&post(lines), BAD_REQUEST).await;
    }
    let http10 = b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    fixture.is_refused(http10, BAD_REQUEST).await;
    let legal = [
        post("Transfer-Encoding: Chunked\r\n"),
        get("Connection: close\r\n"),
    ]
    .concat();
    let ok = (200, "ok".to_owned());
    assert_eq!(fixture.answers(&legal).await, [ok.clone(), ok]);
    fixture.proxy.data_plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lines() {
    let fixture = Fixture::start().await;
    for lines in [
        "X-A : a\r\n",
        "X-A\t: a\r\n",
        "X-A\r\n",
        ": a\r\n",
        ":path: /x\r\n",
        "X A: a\r\n",
        "X(A: a\r\n",
        "X\0A: a\r\n",
        "X-A: a\0b\r\n",
        "X-A: a\x01b\r\n",
        "X-A: a\x7fb\r\n",
        "X-A: a\rb\r\n",
        "X-A: a\r\n b\r\n",
        " X-A: a\r\n",
        "Connection: x-forwarded-for\r\n",
        "Connection: close\r\nConnection: host\r\n",
    ] {
        fixture.is_refused(&get(lines), BAD_REQUEST).await;
    }
    for request in [
        "asdf\r\n\r\n",
        "GET / HTTP/3.0\r\n\r\n",
        "GET /\r\n\r\n",
        "\x16\x03\x01\x02\0\x01\0\r\n\r\n",
    ] {
        fixture.is_refused(request.as_bytes(), BAD_REQUEST).await;
    }
    let two = get("Connection: upgrade\r\nUpgrade: websocket\r\nUpgrade: websocket\r\n");
    fixture.is_refused(&two, (403, "")).await;
    let legacy = b"GET / HTTP/1.0\r\nHost: a\r\n\r\n";
    fixture.is_refused(legacy, (426, "")).await;
    fixture.proxy.data_plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_exact() {
    let fixture = Fixture::start().await;
    let head = |bytes: usize| {
        let value = "a".repeat(bytes - get("Connection: close\r\nX: \r\n").len());
        get(&format!("Connection: close\r\nX: {value}\r\n"))
    };
    let ok = [(200, "ok".to_owned())];
    assert_eq!(fixture.answers(&head(60 * 1024)).await, ok);
    fixture.is_refused(&head(60 * 1024 + 1), TOO_LARGE).await;
    fixture.is_refused(&head(62_000), TOO_LARGE).await;
    fixture.is_refused(&head(200_000), TOO_LARGE).await;
    // Refused before it is whole.
    fixture.is_refused(&head(62_000)[..61_500], TOO_LARGE).await;
    let lines = |count: usize| {
        let lines: String = (2..count).map(|n| format!("X-{n}: 1\r\n")).collect();
        get(&format!("Connection: close\r\n{lines}"))
    };
    assert_eq!(fixture.answers(&lines(100)).await, ok);
    fixture.is_refused(&lines(101), TOO_LARGE).await;
    fixture.is_refused(&lines(500), TOO_LARGE).await;
    fixture.proxy.data_plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_request_waits_for_the_responses_before_it() {
    let fixture = Fixture::start().await;
    let mut refused = 0;
    for bad in [
        b"asdf\r\n\r\n".to_vec(),
        get("X : 1\r\n"),
        post("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n"),
        b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n".to_vec(),
    ] {
        for first in [get(""), post("Transfer-Encoding: chunked\r\n")] {
            let answers = fixture.answers(&[first, bad.clone()].concat()).await;
            let expected = [(200, "ok".to_owned()), (400, "Bad Request".to_owned())];
            assert_eq!(answers, expected, "{:?}", String::from_utf8_lossy(&bad));
            refused += 1;
        }
    }
    assert_eq!(fixture.requests.load(Ordering::SeqCst), refused);
    let refused = u64::from(refused);
    let counted = async {
        // A connection is counted when it is over, which is after the client has read its end.
        while counter(&fixture.proxy, "downstream_rq_total") < 2 * refused {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, counted)
        .await
        .expect("all are counted");
    assert_eq!(
        counter(&fixture.proxy, "downstream_cx_protocol_error"),
        refused
    );
    assert_eq!(counter(&fixture.proxy, "downstream_rq_4xx"), refused);
    assert_eq!(counter(&fixture.proxy, "downstream_rq_total"), 2 * refused);
    fixture.proxy.data_plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_bodies() {
    let fixture = Fixture::start().await;
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for body in [
        "3\nabc\r\n0\r\n\r\n",
        "g\r\n",
        "0x3\r\nabc\r\n0\r\n\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "3;a\nabc\r\n0\r\n\r\n",
        "3\r\nabc\r\n0\r\n:path: /x\r\n\r\n",
        "3\r\nabc\r\n0\r\nX T: 1\r\n\r\n",
    ] {
        let next = "GET /next HTTP/1.1\r\nHost: a\r\n\r\n";
        let request = format!("{head}{body}{next}");
        fixture.is_refused(request.as_bytes(), BAD_REQUEST).await;
    }
    fixture.proxy.data_plane.stop().await;
}

const METHOD: (&str, &str) = (":method", "GET");
const SCHEME: (&str, &str) = (":scheme", "http");
const PATH: (&str, &str) = (":path", "/");
const AUTHORITY: (&str, &str) = (":authority", "a");

/// What happens to a request over HTTP/2.
async fn outcome(
    fixture: &Fixture,
    fields: &[(&str, &str)],
    trailers: Option<&[(&str, &str)]>,
) -> Event {
    let mut client = Client::new(fixture.proxy.connect("in").await).await;
    let block: Vec<u8> = fields
        .iter()
        .flat_map(|(name, value)| literal(name, value))
        .collect();
    client.headers(1, &block, trailers.is_none()).await;
    if let Some(trailers) = trailers {
        client.data(1, b"abc", false).await;
        let block: Vec<u8> = trailers
            .iter()
            .flat_map(|(name, value)| literal(name, value))
            .collect();
        client.headers(1, &block, true).await;
    }
    client.event(1).await
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_over_http2() {
    let fixture = Fixture::start().await;
    let good = [METHOD, SCHEME, PATH, AUTHORITY];
    assert_eq!(outcome(&fixture, &good, None).await, Event::Status(200));
    let differs = [METHOD, SCHEME, PATH, AUTHORITY, ("host", "b")];
    assert_eq!(outcome(&fixture, &differs, None).await, Event::Status(200));
    let before = fixture.requests.load(Ordering::SeqCst);
    let mut cases: Vec<Vec<(&str, &str)>> = Vec::new();
    for host in [
        "a b", "a/b", "a#b", "a?b", "u@a", "u:p@a", "a\\b", "a\"b", "a\u{e9}", "", "a<b", "a^b",
    ] {
        cases.push(vec![METHOD, SCHEME, PATH, (":authority", host)]);
        cases.push(vec![METHOD, SCHEME, PATH, ("host", host)]);
        cases.push(vec![METHOD, SCHEME, PATH, AUTHORITY, ("host", host)]);
    }
    for path in ["", "*", "x", "?x"] {
        cases.push(vec![METHOD, SCHEME, (":path", path), AUTHORITY]);
    }
    for scheme in ["", "1", "ht tp"] {
        cases.push(vec![METHOD, (":scheme", scheme), PATH, AUTHORITY]);
    }
    cases.push(vec![METHOD, (":scheme", ""), PATH, ("host", "a")]);
    cases.push(vec![METHOD, SCHEME, PATH]);
    cases.push(vec![SCHEME, PATH, AUTHORITY]);
    cases.push(vec![METHOD, PATH, AUTHORITY]);
    cases.push(vec![METHOD, SCHEME, AUTHORITY]);
    cases.push(vec![METHOD, SCHEME, PATH, ("host", "a"), ("host", "b")]);
    cases.push(vec![METHOD, SCHEME, PATH, ("x-a", "1"), AUTHORITY]);
    cases.push(vec![(":method", "CONNECT"), (":authority", "u@a:80")]);
    for more in [
        METHOD,
        PATH,
        (":foo", "x"),
        (":status", "200"),
        ("connection", "close"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("keep-alive", "5"),
        ("proxy-connection", "x"),
        ("te", "gzip"),
        ("te", "trailers, gzip"),
        ("X-Upper", "1"),
        ("x a", "1"),
        ("x-nul", "a\0b"),
        ("x-lf", "a\nb"),
        ("content-length", "+0"),
        ("content-length", "5"),
    ] {
        cases.push(vec![METHOD, SCHEME, PATH, AUTHORITY, more]);
    }
    for case in cases {
        let outcome = outcome(&fixture, &case, None).await;
        let refused = matches!(outcome, Event::Reset(1) | Event::GoAway(1) | Event::Closed);
        assert!(refused, "{case:?}: {outcome:?}");
    }
    assert_eq!(fixture.requests.load(Ordering::SeqCst), before);
    fixture.proxy.data_plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_over_http2() {
    let fixture = Fixture::start().await;
    let good = [(":method", "POST"), SCHEME, PATH, AUTHORITY];
    let fine = outcome(&fixture, &good, Some(&[("x-t", "1")])).await;
    assert_eq!(fine, Event::Status(200));
    for trailers in [
        &[PATH][..],
        &[("x-t", "1"), PATH],
        &[(":status", "200")],
        &[AUTHORITY],
        &[("connection", "close")],
        &[("X-T", "1")],
    ] {
        let outcome = outcome(&fixture, &good, Some(trailers)).await;
        let refused = matches!(outcome, Event::Reset(_) | Event::GoAway(_) | Event::Closed);
        assert!(refused, "{trailers:?}: {outcome:?}");
    }
    let many: Vec<(String, String)> = (0..101).map(|n| (format!("x-{n}"), "1".into())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let outcome = outcome(&fixture, &good, Some(&many)).await;
    assert!(!matches!(outcome, Event::Status(200)), "{outcome:?}");
    fixture.proxy.data_plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_over_http2_count_names_and_values() {
    let fixture = Fixture::start().await;
    let head = |bytes: usize| {
        let fields = [METHOD, SCHEME, PATH, AUTHORITY, ("x", "")];
        let plain: usize = fields
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        "a".repeat(bytes - plain)
    };
    for (bytes, expected) in [(61_440, Event::Status(200)), (61_441, Event::Reset(2))] {
        let value = head(bytes);
        let fields = [METHOD, SCHEME, PATH, AUTHORITY, ("x", &value)];
        assert_eq!(outcome(&fixture, &fields, None).await, expected, "{bytes}");
    }
    for (count, expected) in [(100, Event::Status(200)), (101, Event::Reset(2))] {
        let names: Vec<String> = (4..count).map(|n| format!("x-{n}")).collect();
        let mut fields = vec![METHOD, SCHEME, PATH, AUTHORITY];
        fields.extend(names.iter().map(|name| (name.as_str(), "1")));
        assert_eq!(outcome(&fixture, &fields, None).await, expected, "{count}");
    }
    fixture.proxy.data_plane.stop().await;
}
