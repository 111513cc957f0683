//! Clients: they put a visit on the wire and record what they are shown.

mod http1;
mod http2;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use super::script::{Protocol, Visit};
use super::wire::Named;

/// What a client got for one exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) outcome: Outcome,
    /// The response to the request that followed the body at once.
    pub(crate) second: Option<Response>,
}

/// How an exchange ended for the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Response(Response),
    /// The connection or stream ended without a response.
    Ended,
    /// The client did not wait for one.
    Abandoned,
    /// What came is not HTTP, or belongs to no request.
    Broken(String),
    /// Nothing came, and no end either.
    Hang,
}

/// A response, as far as it came.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// It came to its end, as its framing has it.
    pub(crate) whole: bool,
    /// What came in a tunnel, if there is one.
    pub(crate) tunnel: Option<Vec<u8>>,
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = if self.whole { "whole" } else { "cut" };
        write!(f, "{} {end} {:?}", self.status, self.fields)?;
        write!(f, " body {:?}", String::from_utf8_lossy(&self.body))?;
        match &self.tunnel {
            Some(tunnel) => write!(f, " tunnel {:?}", String::from_utf8_lossy(tunnel)),
            None => Ok(()),
        }
    }
}

impl Response {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.iter();
        let found = fields.find(|(other, _)| other == name)?;
        Some(&found.1)
    }
}

/// Plays a visit; what was seen is in the order of its exchanges.
pub(crate) async fn play(address: SocketAddr, visit: &Visit, named: &[Arc<Named>]) -> Vec<Seen> {
    match visit.protocol {
        Protocol::Http1 | Protocol::Http1Only => http1::play(address, visit.burst, named).await,
        Protocol::Http2 => http2::play(address, visit.burst, named).await,
    }
}

fn seen(outcome: Outcome) -> Seen {
    Seen {
        outcome,
        second: None,
    }
}
