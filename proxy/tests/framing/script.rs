//! A sequence as it is written down: what clients send and how the origin answers, without any bytes yet.

use std::fmt;

/// A sequence of visits, one after the other or all at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Script {
    pub(crate) visits: Vec<Visit>,
    /// All visits at once.
    pub(crate) parallel: bool,
}

/// What one client does on one connection. It connects again if the connection ends between two exchanges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Visit {
    pub(crate) protocol: Protocol,
    /// All requests are sent before the first response is read: pipelining, or streams at the same time.
    pub(crate) burst: bool,
    pub(crate) exchanges: Vec<Exchange>,
}

/// How a client connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// HTTP/1 to the listener that takes both, with trailers enabled.
    Http1,
    /// HTTP/1 to the listener that takes nothing else, with trailers as they are by default.
    Http1Only,
    /// HTTP/2 by prior knowledge.
    Http2,
}

/// A request and what the origin does with each attempt of it; the last answer stands for all further attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exchange {
    pub(crate) upstream: Upstream,
    pub(crate) route: Route,
    pub(crate) method: &'static str,
    pub(crate) body: Body,
    /// The body is a request to `/admin`.
    pub(crate) smuggle: bool,
    pub(crate) upgrade: Upgrade,
    /// Several `Connection` lines, the last of which names a header.
    pub(crate) nominate: bool,
    pub(crate) pace: Pace,
    pub(crate) answers: Vec<Answer>,
}

/// What the origin speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Upstream {
    Http1,
    Http2,
}

/// The route that a request takes, by the first segment of its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    Plain,
    /// Two retries on 5xx, resets and connection failures.
    Retry,
    /// A copy goes to the shadow.
    Mirror,
    /// A short time for each of two attempts.
    Timeout,
    /// Retries and a copy.
    RetryMirror,
    /// No upgrades here.
    NoUpgrade,
    /// The proxy answers.
    Direct,
    /// RBAC denies it.
    Admin,
}

impl Route {
    pub(crate) const ALL: [Self; 8] = [
        Self::Plain,
        Self::Retry,
        Self::Mirror,
        Self::Timeout,
        Self::RetryMirror,
        Self::NoUpgrade,
        Self::Direct,
        Self::Admin,
    ];

    /// The first segment of the path.
    pub(crate) fn segment(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Retry => "retry",
            Self::Mirror => "mirror",
            Self::Timeout => "timeout",
            Self::RetryMirror => "retry-mirror",
            Self::NoUpgrade => "no-upgrade",
            Self::Direct => "direct",
            Self::Admin => "admin",
        }
    }

    /// How often the origin, and then the shadow, may see one request.
    pub(crate) fn attempts_max(self) -> (usize, usize) {
        match self {
            Self::Plain | Self::NoUpgrade => (1, 0),
            Self::Retry => (3, 0),
            Self::Mirror => (1, 1),
            Self::Timeout => (2, 0),
            Self::RetryMirror => (3, 1),
            Self::Direct | Self::Admin => (0, 0),
        }
    }
}

/// The body of a request, its framing and how far it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    /// No body and nothing that announces one.
    None,
    /// As long as `Content-Length` says.
    Length(usize),
    /// In chunks of `chunk` bytes.
    Chunked {
        size: usize,
        chunk: usize,
        trailers: bool,
        extension: bool,
    },
    /// Less than `Content-Length` says.
    LengthCut {
        announced: usize,
        sent: usize,
        end: End,
    },
    /// Chunks without the last.
    ChunkedCut { size: usize, end: End },
    /// `Content-Length` is right, and a request to `/admin` follows at once, as if it were more of the body.
    LengthThenRequest(usize),
    /// Not HTTP: nothing of it may arrive as a whole.
    Malformed(Malformed),
}

/// Framing that must be refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// A chunk size that is no number.
    ChunkSize,
    /// A chunk that is longer than its size says.
    ChunkLong,
    /// A chunk size beyond 64 bits.
    ChunkHuge,
    /// A chunk size line that ends in LF alone.
    ChunkBareLf,
    /// `Content-Length` with `Transfer-Encoding: chunked`.
    LengthAndChunked,
    /// Two `Content-Length` that differ.
    TwoLengths,
    /// `Content-Length` with a sign.
    SignedLength,
    /// `Transfer-Encoding: gzip, chunked`.
    GzipChunked,
    /// `Transfer-Encoding: chunked, chunked`.
    ChunkedTwice,
    /// `Transfer-Encoding: chunked` in two lines.
    ChunkedTwoLines,
    /// `Transfer-Encoding: identity`.
    Identity,
    /// `Transfer-Encoding` with a tab and no known coding.
    OddCoding,
}

/// How a side ends its connection (or stream) before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// FIN, and nothing is read any more.
    Close,
    /// FIN, and the rest is read. Over HTTP/2 the end of the stream.
    HalfClose,
    /// RST.
    Reset,
    /// Nothing more is sent; the client waits for the response and closes then.
    Wait,
}

/// The `Upgrade` lines. Over HTTP/2 any of them is an extended CONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Upgrade {
    None,
    WebSocket,
    /// `websocket` and another in one line.
    List,
    /// `websocket` and another in two lines.
    TwoLines,
    /// One that is not allowed.
    Other,
}

/// When the client sends what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Head and body in one write.
    Together,
    /// The head is flushed first.
    Split,
    /// The body follows when the response has been read.
    AfterResponse,
    /// The body follows a 100 (`Expect: 100-continue`).
    AfterContinue,
    /// `Expect: 100-continue`, but the body follows at once.
    ExpectTogether,
    /// The connection (or stream) is given up when everything is sent.
    Abandon,
}

/// What the origin does with one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Before it reads the body.
    pub(crate) early: bool,
    pub(crate) interim: Interim,
    pub(crate) kind: AnswerKind,
}

/// A response that comes before the final one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interim {
    None,
    Continue,
    Hints,
}

/// The final response, or what comes in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AnswerKind {
    Response {
        status: u16,
        content: Content,
        after: After,
    },
    /// 101 with this protocol; the rest of the connection is a tunnel.
    Switch(&'static str),
    /// The connection ends without a response.
    Abort(Cut),
    /// The connection ends in the middle of the response's head.
    HalfHead,
    /// No response, until the other side gives up.
    Silence,
}

/// The body of a response and its framing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// No body and nothing that announces one.
    Bare,
    /// As long as `Content-Length` says. To HEAD, and with 204 and 304, only the header.
    Length(usize),
    Chunked {
        size: usize,
        trailers: bool,
    },
    /// To the end of the connection.
    UntilClose(usize),
    /// Less than `Content-Length` says, then the end of the connection.
    LengthCut {
        announced: usize,
        sent: usize,
        cut: Cut,
    },
    /// Chunks without the last, then the end of the connection.
    ChunkedCut {
        size: usize,
        cut: Cut,
    },
    /// Chunks of which the second has no size.
    ChunkedBroken {
        size: usize,
    },
    /// Two `Content-Length` that differ.
    TwoLengths(usize),
    /// `Content-Length` with `Transfer-Encoding: chunked`.
    LengthAndChunked(usize),
    /// A body where there must be none: to HEAD, with 204 and 304.
    Forbidden(usize),
}

/// How the origin ends its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    Close,
    Reset,
}

/// What follows a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    Keep,
    /// The response says `Connection: close`; the origin closes.
    CloseAnnounced,
    /// The origin closes without a word.
    Close,
    /// Bytes that nobody asked for, in the same write.
    Garbage,
    /// A second response, in the same write.
    SecondResponse,
}

impl Exchange {
    /// A GET that is answered as it should be.
    pub(crate) fn get(upstream: Upstream) -> Self {
        Self {
            upstream,
            route: Route::Plain,
            method: "GET",
            body: Body::None,
            smuggle: false,
            upgrade: Upgrade::None,
            nominate: false,
            pace: Pace::Together,
            answers: vec![Answer::ok()],
        }
    }

    /// The answer to an attempt, counted from 0.
    pub(crate) fn answer(&self, attempt: usize) -> Answer {
        self.answers[attempt.min(self.answers.len() - 1)]
    }
}

impl Answer {
    /// 200 with a body of known length, on a connection that stays.
    pub(crate) fn ok() -> Self {
        Self {
            early: false,
            interim: Interim::None,
            kind: AnswerKind::Response {
                status: 200,
                content: Content::Length(20),
                after: After::Keep,
            },
        }
    }

    /// The same, before the body is read.
    pub(crate) fn early() -> Self {
        Self {
            early: true,
            ..Self::ok()
        }
    }
}

impl Script {
    /// The exchanges in the order of their numbers.
    pub(crate) fn exchanges(&self) -> impl Iterator<Item = &Exchange> {
        self.visits.iter().flat_map(|visit| &visit.exchanges)
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.parallel {
            writeln!(f, "all at once:")?;
        }
        let mut number = 0;
        for visit in &self.visits {
            let burst = if visit.burst { " (burst)" } else { "" };
            writeln!(f, "connection {:?}{burst}", visit.protocol)?;
            for exchange in &visit.exchanges {
                writeln!(f, "  {number}: {exchange}")?;
                number += 1;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            upstream,
            route,
            method,
            body,
            pace,
            ..
        } = self;
        write!(f, "{method} {route:?} to {upstream:?}, body {body:?}")?;
        if self.smuggle {
            write!(f, " with a request in it")?;
        }
        if self.upgrade != Upgrade::None {
            write!(f, ", upgrade {:?}", self.upgrade)?;
        }
        if self.nominate {
            write!(f, ", several Connection lines")?;
        }
        if *pace != Pace::Together {
            write!(f, ", sent {pace:?}")?;
        }
        for answer in &self.answers {
            write!(f, "\n     -> {answer}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.early {
            write!(f, "before the body is read: ")?;
        }
        if self.interim != Interim::None {
            write!(f, "{:?}, then ", self.interim)?;
        }
        match &self.kind {
            AnswerKind::Response {
                status,
                content,
                after,
            } => write!(f, "{status} {content:?}, {after:?}"),
            kind => write!(f, "{kind:?}"),
        }
    }
}

impl Body {
    /// How the client ends its side after it.
    pub(crate) fn end(self) -> Option<End> {
        match self {
            Self::LengthCut { end, .. } | Self::ChunkedCut { end, .. } => Some(end),
            Self::Malformed(_) => Some(End::Wait),
            _ => None,
        }
    }

    /// Its size if it is sent to its end.
    pub(crate) fn whole(self) -> Option<usize> {
        match self {
            Self::None => Some(0),
            Self::Length(size) | Self::LengthThenRequest(size) => Some(size),
            Self::Chunked { size, .. } => Some(size),
            Self::LengthCut { .. } | Self::ChunkedCut { .. } | Self::Malformed(_) => None,
        }
    }
}
