//! What an answer is on the wire of HTTP/1, and what a client may be shown of it.

use crate::framing::script::{After, AnswerKind, Content, Cut, Upstream};
use crate::framing::wire::Named;

const UNSOLICITED: &str = "bytes that nobody asked for";

/// A response as it will be written.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(&'static str, String)>,
    /// The bytes behind the head.
    pub(crate) bytes: Vec<u8>,
    /// The body that they carry, as far as it can be told from what follows it.
    pub(crate) body: Vec<u8>,
    pub(crate) shown: Shown,
    /// Why nothing more may be sent on the connection.
    pub(crate) doubt: Option<&'static str>,
    pub(crate) cut: Option<Cut>,
    /// The end comes without a word, so that a request may cross it.
    pub(crate) silent: bool,
}

/// Whether a client may be shown the response as a complete one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    Whole,
    Never,
    /// A proxy may go by what is allowed or refuse it.
    Either,
}

/// True if a response has no body, whatever its head announces (RFC 9112 section 6.3).
pub(crate) fn is_bodyless(method: &str, status: u16) -> bool {
    method == "HEAD" || status == 204 || status == 304
}

impl Plan {
    /// The plan for a response; `None` for answers that are none.
    pub(crate) fn of(
        named: &Named,
        upstream: Upstream,
        method: &str,
        attempt: usize,
    ) -> Option<Self> {
        let AnswerKind::Response {
            status,
            content,
            after,
        } = named.exchange.answer(attempt).kind
        else {
            return None;
        };
        let mut plan = Self {
            status,
            fields: vec![
                ("x-id", named.name.clone()),
                ("x-attempt", attempt.to_string()),
            ],
            bytes: Vec::new(),
            body: Vec::new(),
            shown: Shown::Whole,
            doubt: None,
            cut: None,
            silent: false,
        };
        let body = |size| named.response_body(attempt, size);
        match is_bodyless(method, status) {
            true => plan.without_body(content, &body),
            false => plan.with_body(content, &body),
        }
        plan.follow(after);
        if upstream == Upstream::Http2 && !is_bodyless(method, status) {
            plan.shown = plan.shown_over_http2(content);
        }
        Some(plan)
    }

    /// Streams end by themselves: only a length can be wrong, and only a reset cuts them.
    fn shown_over_http2(&self, content: Content) -> Shown {
        match content {
            Content::Bare | Content::UntilClose(_) | Content::Chunked { .. } => Shown::Whole,
            Content::Length(_) | Content::Forbidden(_) | Content::LengthAndChunked(_) => {
                // What the head announced is shown before it is known that more comes.
                match self.doubt {
                    Some(UNSOLICITED) => Shown::Either,
                    _ => Shown::Whole,
                }
            }
            Content::LengthCut { .. } | Content::TwoLengths(_) => Shown::Never,
            Content::ChunkedCut { .. } | Content::ChunkedBroken { .. } => Shown::Never,
        }
    }

    fn length(&mut self, length: usize) {
        self.fields.push(("content-length", length.to_string()));
    }

    fn chunked(&mut self) {
        self.fields.push(("transfer-encoding", "chunked".into()));
    }

    fn without_body(&mut self, content: Content, body: &dyn Fn(usize) -> Vec<u8>) {
        // A server must not announce a body with 204 (RFC 9110 section 8.6).
        if self.status == 204 && !matches!(content, Content::Bare | Content::UntilClose(_)) {
            self.shown = Shown::Either;
        }
        match content {
            Content::Bare => {}
            Content::Length(length) => self.length(length),
            Content::Chunked { .. } | Content::ChunkedBroken { .. } => self.chunked(),
            Content::UntilClose(_) => self.cut = Some(Cut::Close),
            Content::LengthCut { announced, cut, .. } => {
                self.length(announced);
                self.cut = Some(cut);
            }
            Content::ChunkedCut { cut, .. } => {
                self.chunked();
                self.cut = Some(cut);
            }
            Content::TwoLengths(_) | Content::LengthAndChunked(_) => {
                self.refused(content);
                self.shown = Shown::Either;
                self.doubt = None;
            }
            Content::Forbidden(size) => {
                self.length(size);
                self.bytes = body(size);
                self.doubt = (size > 0).then_some("a body where there must be none");
            }
        }
    }

    fn with_body(&mut self, content: Content, body: &dyn Fn(usize) -> Vec<u8>) {
        match content {
            Content::Bare | Content::UntilClose(_) => self.cut = Some(Cut::Close),
            Content::Length(length) | Content::Forbidden(length) => self.length(length),
            Content::Chunked { .. } | Content::ChunkedCut { .. } => self.chunked(),
            Content::ChunkedBroken { .. } => self.chunked(),
            Content::LengthCut { announced, .. } => self.length(announced),
            Content::TwoLengths(_) | Content::LengthAndChunked(_) => self.refused(content),
        }
        self.body = body(content.sent());
        match content {
            Content::Chunked { trailers, .. } => {
                self.bytes = chunks(&self.body);
                let trailer = if trailers { "x-trailer: last\r\n" } else { "" };
                self.bytes.extend(format!("0\r\n{trailer}\r\n").bytes());
            }
            Content::ChunkedCut { .. } => self.bytes = chunks(&self.body),
            Content::ChunkedBroken { .. } => {
                self.bytes = chunks(&self.body);
                self.bytes.extend(b"zz\r\n");
                self.doubt = Some("a chunk without a size");
            }
            Content::LengthAndChunked(_) => {
                self.bytes = chunks(&self.body);
                self.bytes.extend(b"0\r\n\r\n");
            }
            _ => self.bytes.clone_from(&self.body),
        }
        match content {
            Content::LengthCut { cut, .. } | Content::ChunkedCut { cut, .. } => {
                self.shown = Shown::Never;
                self.cut = Some(cut);
            }
            Content::ChunkedBroken { .. } => self.shown = Shown::Never,
            _ => {}
        }
    }

    fn refused(&mut self, content: Content) {
        match content {
            Content::TwoLengths(length) => {
                self.length(length);
                self.length(length + 7);
            }
            _ => {
                self.length(content.sent());
                self.chunked();
            }
        }
        self.shown = Shown::Never;
        self.doubt = Some("two framings");
    }

    fn follow(&mut self, after: After) {
        match after {
            After::Keep => {}
            After::CloseAnnounced => {
                self.fields.push(("connection", "close".into()));
                self.cut = self.cut.or(Some(Cut::Close));
            }
            After::Close => {
                self.silent = self.cut.is_none();
                self.cut = self.cut.or(Some(Cut::Close));
            }
            After::Garbage if self.cut.is_none() => {
                self.bytes.extend(b"bytes that nobody asked for\r\n");
                self.doubt = Some(UNSOLICITED);
            }
            After::SecondResponse if self.cut.is_none() => {
                let evil = "HTTP/1.1 200 OK\r\nx-id: evil\r\ncontent-length: 4\r\n\r\nevil";
                self.bytes.extend(evil.bytes());
                self.doubt = Some(UNSOLICITED);
            }
            After::Garbage | After::SecondResponse => {}
        }
    }

    /// The bytes of the response.
    pub(crate) fn wire(&self) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} Said\r\n", self.status);
        for (name, value) in &self.fields {
            head += &format!("{name}: {value}\r\n");
        }
        head += "\r\n";
        let mut wire = head.into_bytes();
        wire.extend(&self.bytes);
        wire
    }
}

impl Content {
    /// How much of the body is sent.
    pub(crate) fn sent(self) -> usize {
        match self {
            Self::Bare => 0,
            Self::Length(size)
            | Self::UntilClose(size)
            | Self::Chunked { size, .. }
            | Self::ChunkedCut { size, .. }
            | Self::ChunkedBroken { size }
            | Self::TwoLengths(size)
            | Self::LengthAndChunked(size)
            | Self::Forbidden(size)
            | Self::LengthCut { sent: size, .. } => size,
        }
    }
}

fn chunks(body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for chunk in body.chunks(body.len().div_ceil(2).max(1)) {
        bytes.extend(format!("{:x}\r\n", chunk.len()).bytes());
        bytes.extend(chunk);
        bytes.extend(b"\r\n");
    }
    bytes
}
