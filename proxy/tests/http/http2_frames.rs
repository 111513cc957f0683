//! A client that writes HTTP/2 frames by hand, because libraries refuse to send what is malformed.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::LIMIT;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

/// What a client is told about a stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A response with that status.
    Status(u16),
    /// RST_STREAM with that code.
    Reset(u32),
    /// GOAWAY with that code.
    GoAway(u32),
    /// The connection ended without a word.
    Closed,
}

/// A connection.
pub(crate) struct Client {
    stream: TcpStream,
}

/// A field that is written out and enters no table.
pub(crate) fn literal(name: &str, value: &str) -> Vec<u8> {
    written(0, name, value)
}

/// A field that is written out and enters the dynamic table.
pub(crate) fn indexed(name: &str, value: &str) -> Vec<u8> {
    written(0x40, name, value)
}

fn written(form: u8, name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![form];
    for text in [name, value] {
        push_integer(&mut bytes, text.len());
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes
}

/// An integer with a prefix of seven bits.
fn push_integer(bytes: &mut Vec<u8>, integer: usize) {
    let Some(mut rest) = integer.checked_sub(0x7f) else {
        return bytes.push(u8::try_from(integer).unwrap());
    };
    bytes.push(0x7f);
    while rest >= 0x80 {
        bytes.push(u8::try_from(rest % 0x80).unwrap() | 0x80);
        rest /= 0x80;
    }
    bytes.push(u8::try_from(rest).unwrap());
}

impl Client {
    pub(crate) async fn new(mut stream: TcpStream) -> Self {
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
        stream.write_all(preface).await.unwrap();
        Self { stream }
    }

    /// A header block, in as many frames as it needs.
    pub(crate) async fn headers(&mut self, stream: u32, block: &[u8], last: bool) {
        let pieces: Vec<&[u8]> = match block {
            [] => vec![block],
            _ => block.chunks(16_384).collect(),
        };
        for (index, piece) in pieces.iter().enumerate() {
            let kind = if index == 0 { HEADERS } else { CONTINUATION };
            let mut flags = 0;
            if index == 0 && last {
                flags |= END_STREAM;
            }
            if index + 1 == pieces.len() {
                flags |= END_HEADERS;
            }
            self.frame(kind, flags, stream, piece).await;
        }
    }

    pub(crate) async fn data(&mut self, stream: u32, bytes: &[u8], last: bool) {
        self.frame(DATA, u8::from(last), stream, bytes).await;
    }

    async fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend_from_slice(payload);
        // The proxy may have closed the connection already; what it said before is read all the same.
        let _ = self.stream.write_all(&frame).await;
    }

    /// The first event of a stream.
    pub(crate) async fn event(&mut self, stream: u32) -> Event {
        loop {
            let event = tokio::time::timeout(LIMIT, self.next()).await;
            let Some((of, event)) = event.expect("an event") else {
                return Event::Closed;
            };
            if of == 0 || of == stream {
                return event;
            }
        }
    }

    /// The next event, with its stream, 0 for the connection; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<(u32, Event)> {
        loop {
            let mut head = [0; 9];
            self.stream.read_exact(&mut head).await.ok()?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; usize::try_from(length).unwrap()];
            self.stream.read_exact(&mut payload).await.ok()?;
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            let code = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
            let event = match head[3] {
                HEADERS => Event::Status(status(&payload)),
                RST_STREAM => Event::Reset(code(0)),
                GOAWAY => Event::GoAway(code(4)),
                SETTINGS if head[4] == 0 => {
                    self.frame(SETTINGS, 1, 0, &[]).await;
                    continue;
                }
                _ => continue,
            };
            return Some((stream, event));
        }
    }
}

/// The status, which stands first: an entry of the static table, or a value of three digits for the name of one.
fn status(block: &[u8]) -> u16 {
    match block[0] {
        0x88 => 200,
        0x89 => 204,
        0x8b => 304,
        0x8c => 400,
        0x8d => 404,
        0x8e => 500,
        _ if block[1] == 3 => std::str::from_utf8(&block[2..5]).unwrap().parse().unwrap(),
        // In Huffman's code, of which the tests need these.
        _ => match &block[2..4] {
            [0x69, 0x90] => 431,
            [0x6c, 0x0c] => 503,
            other => panic!("a status that is not known here: {other:x?}"),
        },
    }
}
