//! HTTP/1: heads and bodies as they come, and the parts of a request that policies match.

use http::uri::PathAndQuery;
use proxy::config::http::{EscapedSlashes, PathNormalization};
use proxy::http::path::{Cleaned, clean};
use proxy::http::protocol::authority;
use proxy::http::server::framing::{HeadLimits, Scanner};

use crate::target::{Outcome, Target, magnitude, outcome};

const WORDS: &[&str] = &[
    "GET / HTTP/1.1\r\n",
    "CONNECT a:1 HTTP/1.1\r\n",
    "\r\n",
    "\n",
    "\r\n\r\n",
    "content-length: ",
    "content-length: 3\r\n",
    "transfer-encoding: ",
    "transfer-encoding: chunked\r\n",
    "gzip, chunked",
    "upgrade: websocket\r\n",
    "connection: close\r\n",
    "0\r\n\r\n",
    "5;a=b\r\nhello\r\n",
    "ffffffffffffffff\r\n",
    "host: a\r\n",
    "#fragment",
];

pub(super) static TARGETS: &[Target] = &[
    Target::new("http1-framing", framing).dictionary(WORDS),
    Target::new("http-path", path)
        .dictionary(&[
            "/../", "/./", "//", "%2e%2e", "%2F", "%5c", "\\", "/..;x/", "?", "#", "%00", "%C3",
            "é",
        ])
        .bytes_max(4 << 10),
    Target::new("http-authority", authority).dictionary(&[
        "[::1]",
        ":80",
        ":65536",
        "user@",
        "a.example",
        "%",
        "[",
        "]",
        "_",
    ]),
];

const LIMITS: HeadLimits = HeadLimits {
    bytes_max: 4096,
    lines_max: 50,
};

/// The same is found, and at the same byte, however the bytes are cut.
fn framing(input: &[u8]) -> Outcome {
    let at_once = Scanner::new(LIMITS).scan(input);
    let mut scanner = Scanner::new(LIMITS);
    let mut byte_by_byte = Ok(());
    for (at, byte) in input.iter().enumerate() {
        if let Err(mut found) = scanner.scan(std::slice::from_ref(byte)) {
            found.at += at;
            byte_by_byte = Err(found);
            break;
        }
    }
    match (&at_once, &byte_by_byte) {
        (Ok(()), Ok(())) => {}
        (Err(a), Err(b)) => {
            assert_eq!((a.refusal, a.in_body), (b.refusal, b.in_body));
            assert!(
                a.at <= b.at,
                "known at {} and, in pieces, at {}",
                a.at,
                b.at
            );
        }
        _ => panic!("{at_once:?} at once, {byte_by_byte:?} in pieces"),
    }
    outcome(at_once.map_err(|found| (found.refusal as u8, found.in_body)))
}

/// A path that was cleaned is clean: nothing that is matched later may become another path upstream.
fn path(input: &[u8]) -> Outcome {
    let text = String::from_utf8_lossy(input);
    // What the HTTP library refuses never comes here.
    let Ok(target) = PathAndQuery::try_from(text.as_ref()) else {
        return outcome("refused");
    };
    let text = target.as_str();
    let mut outcomes = Vec::new();
    for escaped_slashes in [
        EscapedSlashes::Keep,
        EscapedSlashes::Reject,
        EscapedSlashes::UnescapeAndRedirect,
        EscapedSlashes::UnescapeAndForward,
    ] {
        let options = PathNormalization {
            normalize: true,
            merge_slashes: true,
            escaped_slashes,
        };
        let cleaned = clean(&options, text);
        outcomes.push(std::mem::discriminant(&cleaned));
        let (Cleaned::Changed(path) | Cleaned::Redirect(path)) = cleaned else {
            continue;
        };
        // As in Envoy, parameters are cut off dot segments that are written out, not off those that are unescaped.
        if path.contains("/.;") || path.contains("/..;") {
            continue;
        }
        let again = clean(&options, &path);
        assert_eq!(again, Cleaned::Unchanged, "\"{text}\" became \"{path}\"");
    }
    outcome(outcomes)
}

fn authority(input: &[u8]) -> Outcome {
    let text = String::from_utf8_lossy(input);
    let host = authority::is_host(input);
    let http2 = authority::is_http2_authority(input);
    let target = authority::is_target_authority(&text);
    assert!(host || !http2);
    assert!(host || !target, "\"{text}\" is an authority and no host");
    outcome((host, http2, target, magnitude(input.len())))
}
