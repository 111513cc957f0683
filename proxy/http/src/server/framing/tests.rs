//! Heads that hyper would hide, and bodies, in one piece and byte by byte.

use super::*;

const LIMITS: HeadLimits = HeadLimits {
    bytes_max: 200,
    lines_max: 5,
};

/// What is found in the bytes, whole and byte by byte: the same.
fn scan(bytes: &[u8]) -> Option<(Refusal, bool)> {
    let whole = Scanner::new(LIMITS).scan(bytes).err();
    let mut scanner = Scanner::new(LIMITS);
    let single = bytes.iter().find_map(|byte| scanner.scan(&[*byte]).err());
    let known = |found: Found| (found.refusal, found.in_body);
    assert_eq!(whole.map(known), single.map(known));
    whole.map(known)
}

fn head(lines: &str) -> Option<(Refusal, bool)> {
    let message = format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
    scan(message.as_bytes())
}

const NEXT: &str = "GET / HTTP/1.1\r\nX : a\r\n\r\n";

/// The next head is found where the message ends.
fn ends(message: &str) -> bool {
    let refused = scan(format!("{message}{NEXT}").as_bytes());
    scan(message.as_bytes()).is_none() && refused == Some((Refusal::Codec, false))
}

#[test]
fn lengths_and_codings() {
    for (lines, expected) in [
        ("Content-Length: 0\r\n", None),
        ("content-length:\t5 \r\n", None),
        ("Transfer-Encoding: Chunked\r\n", None),
        ("Content-Length: +1\r\n", Some(Refusal::Codec)),
        ("Content-Length: 1, 1\r\n", Some(Refusal::Codec)),
        ("Content-Length: 0x1\r\n", Some(Refusal::Codec)),
        ("Content-Length: -1\r\n", Some(Refusal::Codec)),
        ("Content-Length:\r\n", Some(Refusal::Codec)),
        (
            "Content-Length: 18446744073709551616\r\n",
            Some(Refusal::Codec),
        ),
        (
            "Content-Length: 0000000000000000000000001\r\n",
            Some(Refusal::Codec),
        ),
        (
            "Content-Length: 1\r\nContent-Length: 1\r\n",
            Some(Refusal::Codec),
        ),
        (
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            Some(Refusal::TwoLengths),
        ),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n",
            Some(Refusal::TwoLengths),
        ),
        (
            "Transfer-Encoding: gzip, chunked\r\n",
            Some(Refusal::TransferCoding),
        ),
        (
            "Transfer-Encoding: chunked, chunked\r\n",
            Some(Refusal::TransferCoding),
        ),
        (
            "Transfer-Encoding: chunked;x=1\r\n",
            Some(Refusal::TransferCoding),
        ),
        (
            "Transfer-Encoding: identity\r\n",
            Some(Refusal::TransferCoding),
        ),
        ("Transfer-Encoding:\r\n", Some(Refusal::TransferCoding)),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            Some(Refusal::TransferCoding),
        ),
    ] {
        assert_eq!(head(lines), expected.map(|r| (r, false)), "{lines}");
    }
}

#[test]
fn lines() {
    for (lines, expected) in [
        ("X-A: a\n", None),
        ("X-A : a\r\n", Some(Refusal::Codec)),
        ("X-A: a\r\n b\r\n", Some(Refusal::Codec)),
        ("X\0A: a\r\n", Some(Refusal::Codec)),
        (": a\r\n", Some(Refusal::Codec)),
        ("X-A\r\n", Some(Refusal::Codec)),
        ("A: 1\r\nB: 1\r\nC: 1\r\nD: 1\r\n", None),
        (
            "A: 1\r\nB: 1\r\nC: 1\r\nD: 1\r\nE: 1\r\n",
            Some(Refusal::TooManyHeaders),
        ),
    ] {
        assert_eq!(head(lines), expected.map(|r| (r, false)), "{lines:?}");
    }
}

#[test]
fn the_limit_is_exact() {
    let of_length = |length: usize| {
        let message = "GET / HTTP/1.1\r\nX: \r\n\r\n".len();
        let value = "a".repeat(length - message);
        scan(format!("GET / HTTP/1.1\r\nX: {value}\r\n\r\n").as_bytes())
    };
    assert_eq!(of_length(200), None);
    assert_eq!(of_length(201), Some((Refusal::HeadTooLarge, false)));
    assert_eq!(scan(&[b'\n'; 201]), Some((Refusal::HeadTooLarge, false)));
}

#[test]
fn targets() {
    for (line, expected) in [
        ("GET /a HTTP/1.1", None),
        ("GET /a#b HTTP/1.1", Some(Refusal::Fragment)),
        ("GET http://a/#b HTTP/1.1", Some(Refusal::InvalidTarget)),
    ] {
        let found = scan(format!("{line}\r\n\r\n").as_bytes());
        assert_eq!(found, expected.map(|r| (r, false)), "{line}");
    }
    let http10 = b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(scan(http10), Some((Refusal::Codec, false)));
}

#[test]
fn the_next_head_is_found() {
    assert!(ends("GET / HTTP/1.1\r\n\r\n"));
    assert!(ends("\r\n\r\nGET / HTTP/1.1\n\n"));
    assert!(ends("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\na\nb"));
    let chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    for body in [
        "0\r\n\r\n",
        "3\r\na\nb\r\n0\r\n\r\n",
        "003;x=\"y\"\r\nabc\r\nA \r\n0123456789\r\n0\r\n\r\n",
        "0\r\nX-T: 1\r\nX-U: 2\r\n\r\n",
    ] {
        assert!(ends(&format!("{chunked}{body}")), "{body:?}");
    }
    assert!(ends("GET / HTTP/1.1\r\nUpgrade: h2c\r\n\r\n"));
    assert!(ends("GET / HTTP/1.0\r\nUpgrade: websocket\r\n\r\n"));
}

#[test]
fn broken_chunks() {
    for body in [
        "\r\n",
        "g\r\n",
        "+1\r\n",
        "1\na",
        "1;a\nb",
        "1\r\nab",
        "1\r\na\n",
        "0\r\n\n",
        "0\r\nX: 1\n\r\n",
        "0\r\n:path: /x\r\n",
        "0\r\nX : 1\r\n",
        "0\r\nX\r\n",
        "0\r\nX: 1\r\n 2\r\n",
        "0\r\nX: 1\rY: 1\r\n",
        "11111111111111111\r\n",
    ] {
        let message = format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        assert_eq!(
            scan(message.as_bytes()),
            Some((Refusal::Codec, true)),
            "{body:?}"
        );
    }
    let trailers = format!("0\r\nX: {}\r\n\r\n", "a".repeat(200));
    let message = format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{trailers}");
    assert_eq!(
        scan(message.as_bytes()),
        Some((Refusal::HeadTooLarge, true))
    );
}

#[test]
fn other_protocols_are_not_looked_at() {
    for head in [
        "GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n",
        "CONNECT a:80 HTTP/1.1\r\n\r\n",
    ] {
        assert_eq!(scan(format!("{head}{NEXT}").as_bytes()), None, "{head}");
    }
}

/// A head that is too large is that, whatever stands behind the limit and however much of it has arrived.
#[test]
fn nothing_beyond_the_limit_is_looked_at() {
    for line in ["a: ", "a"] {
        let long = format!("GET / HTTP/1.1\r\n{line}{}", "b".repeat(200));
        for behind in ["\0", " : x\r\n", "\r\ncontent-length: x\r\n\r\n"] {
            let head = scan(format!("{long}{behind}").as_bytes());
            assert_eq!(head, Some((Refusal::HeadTooLarge, false)), "{behind:?}");
        }
    }
}
