//! The request's body, for as many attempts as are allowed, and for mirrors.

use http_body::Body;

use super::Exchange;
use crate::body::RequestBody;
use crate::body::replay::SharedTape;
use crate::route::mirror;
use crate::stream::{RequestHead, Stream};

/// Where the attempts take the request's body from.
#[derive(Debug)]
pub enum Source {
    /// There is none.
    Empty,
    /// It can be read once.
    Once(RequestBody),
    /// What was read is kept.
    Tape(SharedTape),
}

impl Source {
    /// The source of an exchange. Mirrors that are drawn begin here.
    pub fn of(
        exchange: &Exchange<'_>,
        stream: &Stream,
        head: &RequestHead,
        body: RequestBody,
        retries: bool,
    ) -> Self {
        let mut mirrors = mirror::drawn(&exchange.forward.mirrors).peekable();
        if body.is_end_stream() {
            for mirror in mirrors {
                mirror::send(mirror, stream, head, RequestBody::Empty);
            }
            return Self::Empty;
        }
        if !retries && mirrors.peek().is_none() {
            return Self::Once(body);
        }
        let limit = exchange.route.route().buffer_limit;
        // How much is kept for retries unless the route says otherwise.
        let limit = limit.unwrap_or(stream.info.connection.buffer_limit_bytes);
        let tape = SharedTape::new(body, retries, limit as usize);
        for mirror in mirrors {
            mirror::send(mirror, stream, head, RequestBody::Mirror(tape.mirror()));
        }
        Self::Tape(tape)
    }

    /// The body of the next attempt.
    pub fn next_body(&mut self) -> RequestBody {
        match self {
            Self::Empty => RequestBody::Empty,
            Self::Once(body) => std::mem::take(body),
            Self::Tape(tape) => RequestBody::Replay(tape.body()),
        }
    }

    /// True while a further attempt can send the body from its beginning.
    pub fn can_replay(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Once(_) => false,
            Self::Tape(tape) => tape.can_replay(),
        }
    }
}
