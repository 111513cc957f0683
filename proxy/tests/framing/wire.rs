//! Bytes: what a named exchange looks like on the wire, and a strict reader of HTTP/1.

pub(crate) mod http1;

use super::script::Exchange;

/// An exchange with the name that makes its bytes unlike those of any other.
#[derive(Debug)]
pub(crate) struct Named {
    /// Unique in a run of the test.
    pub(crate) name: String,
    /// The authority, by which the proxy knows the origin.
    pub(crate) host: String,
    /// Nothing is sent on its connection before it, and nothing along with it that may end the connection.
    pub(crate) first: bool,
    pub(crate) exchange: Exchange,
}

impl Named {
    pub(crate) fn path(&self) -> String {
        format!("/{}/{}", self.exchange.route.segment(), self.name)
    }

    /// A request that the client writes where a body is expected, or right behind one.
    pub(crate) fn smuggled(&self) -> Vec<u8> {
        let name = &self.name;
        format!("GET /admin/{name} HTTP/1.1\r\nHost: smuggled\r\nX-Id: {name}\r\n\r\n").into()
    }

    /// The first bytes of the request's body.
    pub(crate) fn body(&self, size: usize) -> Vec<u8> {
        let start = match self.exchange.smuggle {
            true => self.smuggled(),
            false => Vec::new(),
        };
        filled(start, &format!("<{}>", self.name), size)
    }

    /// The first bytes of a response's body.
    pub(crate) fn response_body(&self, attempt: usize, size: usize) -> Vec<u8> {
        filled(Vec::new(), &format!("[{}#{attempt}]", self.name), size)
    }

    /// What the client says in a tunnel, and what it hears.
    pub(crate) fn tunnel(&self) -> (Vec<u8>, Vec<u8>) {
        let heard = format!("tunnel of {}\n", self.name);
        (self.smuggled(), heard.into())
    }

    /// The trailer that the client sends.
    pub(crate) fn trailer(&self) -> String {
        format!("trailer-{}", self.name)
    }
}

/// This many bytes: `start`, and then the filler again and again.
fn filled(mut start: Vec<u8>, filler: &str, size: usize) -> Vec<u8> {
    start.extend(filler.repeat(size / filler.len() + 1).into_bytes());
    start.truncate(size);
    start
}
