//! Clients of HTTP/1: bytes as the script has them, right or wrong.

mod parts;
mod writer;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;

use super::{Outcome, Response, Seen, seen};
use crate::framing::lane::LIMIT;
use crate::framing::script::{Body, End, Pace};
use crate::framing::wire::Named;
use crate::framing::wire::http1::{Fault, Framing, Head, Reader};
use parts::Parts;
use writer::Writer;

pub(super) async fn play(address: SocketAddr, burst: bool, all: &[Arc<Named>]) -> Vec<Seen> {
    let mut result = Vec::new();
    if burst {
        let mut client = Client::connect(address).await;
        client.burst(all, &mut result).await;
        client.end(&mut result).await;
        return result;
    }
    let mut connection: Option<Client> = None;
    for named in all {
        let mut client = match connection.take() {
            Some(client) => client,
            None => Client::connect(address).await,
        };
        let limited = tokio::time::timeout(LIMIT, client.exchange(named)).await;
        client.usable &= limited.is_ok();
        result.push(limited.unwrap_or_else(|_| seen(Outcome::Hang)));
        match client.usable {
            true => connection = Some(client),
            false => client.end(&mut result).await,
        }
    }
    if let Some(client) = connection {
        client.end(&mut result).await;
    }
    result
}

struct Client {
    reader: Reader<OwnedReadHalf>,
    writer: Writer,
    /// Another request may follow.
    usable: bool,
    /// The connection is reset as soon as it is dropped.
    reset: bool,
}

impl Client {
    async fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address)
            .await
            .expect("the proxy listens");
        socket.set_nodelay(true).expect("a TCP option");
        let (read, write) = socket.into_split();
        Self {
            reader: Reader::new(read),
            writer: Writer::new(write),
            usable: true,
            reset: false,
        }
    }

    /// Sends all requests in one write and then reads all responses.
    async fn burst(&mut self, all: &[Arc<Named>], result: &mut Vec<Seen>) {
        let parts: Vec<_> = all.iter().map(|named| Parts::of(named)).collect();
        let bytes = parts.iter().flat_map(|part| [&part.head[..], &part.body]);
        self.writer.write(bytes.collect::<Vec<_>>().concat());
        let end = parts.last().and_then(|part| part.end);
        if self.gives_up(end).await {
            return result.resize(all.len(), seen(Outcome::Abandoned));
        }
        for named in all {
            let response = tokio::time::timeout(LIMIT, self.responses(named));
            result.push(response.await.unwrap_or_else(|_| seen(Outcome::Hang)));
        }
    }

    /// Sends one request at the pace of the script and reads its response.
    async fn exchange(&mut self, named: &Named) -> Seen {
        let Parts { head, body, end } = Parts::of(named);
        match named.exchange.pace {
            Pace::Together | Pace::ExpectTogether | Pace::Abandon => {
                self.writer.write([head, body].concat());
            }
            Pace::Split => {
                self.writer.write(head);
                self.writer.write(body);
            }
            Pace::AfterResponse => {
                self.writer.write(head);
                let seen = self.response(named).await;
                self.writer.write(body);
                let second = self.second(named).await;
                self.gives_up(end).await;
                return Seen { second, ..seen };
            }
            Pace::AfterContinue => {
                self.writer.write(head);
                return self.continued(named, body, end).await;
            }
        }
        if named.exchange.pace == Pace::Abandon {
            self.gives_up(Some(End::Close)).await;
            return seen(Outcome::Abandoned);
        }
        if self.gives_up(end).await {
            return seen(Outcome::Abandoned);
        }
        self.responses(named).await
    }

    /// Sends the body if the server asks for it.
    async fn continued(&mut self, named: &Named, body: Vec<u8>, end: Option<End>) -> Seen {
        match self.reader.head().await {
            Ok(Some(head)) if head.status() == Ok(100) => {
                self.writer.write(body);
                if self.gives_up(end).await {
                    return seen(Outcome::Abandoned);
                }
                self.responses(named).await
            }
            Ok(Some(head)) => {
                // Whether the body is still expected is not clear then (RFC 9110 section 10.1.1).
                self.usable = false;
                seen(self.rest_of_response(named, head).await)
            }
            head => seen(self.no_response(head)),
        }
    }

    /// Ends this side as the script says; true if the client does not read any more.
    async fn gives_up(&mut self, end: Option<End>) -> bool {
        match end {
            None => return false,
            Some(End::Wait) => {}
            Some(End::HalfClose) => self.writer.end().await,
            Some(End::Close) => self.writer.end().await,
            Some(End::Reset) => {
                self.writer.reset().await;
                self.reset = true;
            }
        }
        self.usable = false;
        matches!(end, Some(End::Close | End::Reset))
    }

    /// The response, and the one to a request behind the body.
    async fn responses(&mut self, named: &Named) -> Seen {
        let seen = self.response(named).await;
        let second = self.second(named).await;
        Seen { second, ..seen }
    }

    async fn second(&mut self, named: &Named) -> Option<Response> {
        if !self.usable || !matches!(named.exchange.body, Body::LengthThenRequest(_)) {
            return None;
        }
        match self.final_head().await {
            Ok(Some(head)) => match self.message("GET", head).await {
                Ok(response) => Some(response),
                Err(what) => Some(Response {
                    fields: vec![("x-id".into(), format!("broken: {what}"))],
                    ..Response::default()
                }),
            },
            _ => {
                self.usable = false;
                None
            }
        }
    }

    async fn response(&mut self, named: &Named) -> Seen {
        match self.final_head().await {
            Ok(Some(head)) => seen(self.rest_of_response(named, head).await),
            head => seen(self.no_response(head)),
        }
    }

    fn no_response(&mut self, head: Result<Option<Head>, Fault>) -> Outcome {
        self.usable = false;
        match head {
            Err(Fault::Broken(what)) => Outcome::Broken(what),
            _ => Outcome::Ended,
        }
    }

    /// The next head that is not of an interim response.
    async fn final_head(&mut self) -> Result<Option<Head>, Fault> {
        loop {
            let head = self.reader.head().await?;
            let Some(head) = head else {
                return Ok(None);
            };
            let status = head.status()?;
            if status == 101 || !(100..200).contains(&status) {
                return Ok(Some(head));
            }
        }
    }

    async fn rest_of_response(&mut self, named: &Named, head: Head) -> Outcome {
        if head.status() == Ok(101) {
            return self.tunnel(named, head).await;
        }
        // Who cannot read a request does not know its method either: as Envoy, the proxy says why and closes.
        let malformed = matches!(named.exchange.body, Body::Malformed(_));
        let method = match malformed && head.all("x-id").next().is_none() {
            true => "GET",
            false => named.exchange.method,
        };
        match self.message(method, head).await {
            Ok(response) => Outcome::Response(response),
            Err(what) => Outcome::Broken(what),
        }
    }

    async fn message(&mut self, method: &str, head: Head) -> Result<Response, String> {
        let broken = |fault: Fault| format!("{fault:?}");
        let framing = head.response_framing(method).map_err(broken)?;
        let close = head
            .all("connection")
            .any(|value| value.eq_ignore_ascii_case("close"));
        if close || framing == Framing::UntilClose {
            self.usable = false;
        }
        let mut response = Response {
            status: head.status().map_err(broken)?,
            fields: head.fields,
            ..Response::default()
        };
        match self.reader.body(framing, &mut response.body).await {
            Ok(_) => response.whole = true,
            Err(Fault::Cut) => self.usable = false,
            Err(Fault::Broken(what)) => return Err(what),
        }
        Ok(response)
    }

    /// Speaks in the tunnel and listens to its end.
    async fn tunnel(&mut self, named: &Named, head: Head) -> Outcome {
        self.usable = false;
        self.writer.write(named.tunnel().0);
        let mut heard = Vec::new();
        self.reader.rest(&mut heard).await;
        Outcome::Response(Response {
            status: 101,
            fields: head.fields,
            whole: true,
            tunnel: Some(heard),
            ..Response::default()
        })
    }

    /// Ends the connection: nothing more may come on it.
    async fn end(mut self, result: &mut [Seen]) {
        if self.reset {
            return;
        }
        let mut more = Vec::new();
        self.writer.end().await;
        let rest = tokio::time::timeout(LIMIT, self.reader.rest(&mut more)).await;
        let Some(last) = result.last_mut() else {
            return;
        };
        if last.outcome == Outcome::Abandoned || last.outcome == Outcome::Hang {
            return;
        }
        if rest.is_err() {
            last.outcome = Outcome::Hang;
        } else if !more.is_empty() {
            let more = String::from_utf8_lossy(&more).into_owned();
            last.outcome = Outcome::Broken(format!("bytes after the last response: {more:?}"));
        }
    }
}
