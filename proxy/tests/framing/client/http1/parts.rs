//! The bytes of a request over HTTP/1.

use crate::framing::script::{Body, End, Exchange, Malformed, Pace, Upgrade};
use crate::framing::wire::Named;

/// A request as it is written.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) head: Vec<u8>,
    pub(super) body: Vec<u8>,
    /// How the client ends its side then, if it does.
    pub(super) end: Option<End>,
}

impl Parts {
    pub(super) fn of(named: &Named) -> Self {
        let Exchange { method, body, .. } = &named.exchange;
        let mut head = format!(
            "{method} {} HTTP/1.1\r\nHost: {}\r\nX-Id: {}\r\n",
            named.path(),
            named.host,
            named.name
        );
        add_connection(&named.exchange, &mut head);
        add_framing(*body, &mut head);
        if matches!(
            named.exchange.pace,
            Pace::AfterContinue | Pace::ExpectTogether
        ) {
            head += "Expect: 100-continue\r\n";
        }
        head += "\r\n";
        Self {
            head: head.into_bytes(),
            body: body_bytes(named),
            end: body.end(),
        }
    }
}

fn add_connection(exchange: &Exchange, head: &mut String) {
    let upgrade = exchange.upgrade != Upgrade::None;
    if upgrade {
        *head += "Connection: Upgrade\r\n";
    }
    if exchange.nominate {
        if !upgrade {
            *head += "Connection: keep-alive\r\n";
        }
        *head += "X-Hop: mine\r\nConnection: x-hop\r\n";
    }
    match exchange.upgrade {
        Upgrade::None => {}
        Upgrade::WebSocket => *head += "Upgrade: websocket\r\n",
        Upgrade::List => *head += "Upgrade: websocket, other\r\n",
        Upgrade::TwoLines => *head += "Upgrade: websocket\r\nUpgrade: other\r\n",
        Upgrade::Other => *head += "Upgrade: other\r\n",
    }
}

fn add_framing(body: Body, head: &mut String) {
    const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";
    match body {
        Body::None => {}
        Body::Length(length) | Body::LengthThenRequest(length) => add_length(length, head),
        Body::LengthCut { announced, .. } => add_length(announced, head),
        Body::Chunked { trailers, .. } => {
            *head += CHUNKED;
            if trailers {
                *head += "Trailer: x-trailer\r\n";
            }
        }
        Body::ChunkedCut { .. } => *head += CHUNKED,
        Body::Malformed(malformed) => {
            *head += match malformed {
                Malformed::ChunkSize
                | Malformed::ChunkLong
                | Malformed::ChunkHuge
                | Malformed::ChunkBareLf => CHUNKED,
                Malformed::LengthAndChunked => {
                    "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"
                }
                Malformed::TwoLengths => "Content-Length: 10\r\nContent-Length: 12\r\n",
                Malformed::SignedLength => "Content-Length: +10\r\n",
                Malformed::GzipChunked => "Transfer-Encoding: gzip, chunked\r\n",
                Malformed::ChunkedTwice => "Transfer-Encoding: chunked, chunked\r\n",
                Malformed::ChunkedTwoLines => {
                    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"
                }
                Malformed::Identity => "Transfer-Encoding: identity\r\n",
                Malformed::OddCoding => "Transfer-Encoding:\txchunked\r\n",
            }
        }
    }
}

fn add_length(length: usize, head: &mut String) {
    *head += &format!("Content-Length: {length}\r\n");
}

fn body_bytes(named: &Named) -> Vec<u8> {
    match named.exchange.body {
        Body::None => Vec::new(),
        Body::Length(size) | Body::LengthCut { sent: size, .. } => named.body(size),
        Body::Chunked {
            size,
            chunk,
            trailers,
            extension,
        } => {
            let mut bytes = chunks(&named.body(size), chunk, extension);
            bytes.extend(b"0\r\n");
            if trailers {
                bytes.extend(format!("X-Trailer: {}\r\n", named.trailer()).bytes());
            }
            bytes.extend(b"\r\n");
            bytes
        }
        Body::ChunkedCut { size, .. } => {
            let mut bytes = chunks(&named.body(size), size.div_ceil(2), false);
            // Half of a chunk.
            bytes.extend(b"ff\r\nhalf");
            bytes
        }
        Body::LengthThenRequest(size) => [named.body(size), named.smuggled()].concat(),
        Body::Malformed(malformed) => malformed_bytes(named, malformed),
    }
}

fn malformed_bytes(named: &Named, malformed: Malformed) -> Vec<u8> {
    let whole = || [chunks(&named.body(40), 20, false), b"0\r\n\r\n".to_vec()].concat();
    let sized = |size: &[u8]| [size, &named.body(6), b"\r\n0\r\n\r\n"].concat();
    match malformed {
        Malformed::ChunkSize => [chunks(&named.body(20), 20, false), b"-1\r\n".to_vec()].concat(),
        Malformed::ChunkLong => sized(b"3\r\n"),
        Malformed::ChunkHuge => sized(b"10000000000000006\r\n"),
        Malformed::ChunkBareLf => sized(b"6\n"),
        Malformed::TwoLengths | Malformed::SignedLength => named.body(12),
        Malformed::LengthAndChunked
        | Malformed::GzipChunked
        | Malformed::ChunkedTwice
        | Malformed::ChunkedTwoLines
        | Malformed::Identity
        | Malformed::OddCoding => whole(),
    }
}

fn chunks(body: &[u8], chunk: usize, extension: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let extension = if extension { ";name=value" } else { "" };
    for chunk in body.chunks(chunk.max(1)) {
        bytes.extend(format!("{:x}{extension}\r\n", chunk.len()).bytes());
        bytes.extend(chunk);
        bytes.extend(b"\r\n");
    }
    bytes
}
