//! The origin over HTTP/1.

use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio_util::sync::CancellationToken;

use super::plan::Plan;
use super::{Arrival, Board, Connection, Server};
use crate::framing::script::{AnswerKind, Cut, Interim, Upstream};
use crate::framing::wire::Named;
use crate::framing::wire::http1::{Fault, Framing, Reader};

/// Serves a connection to its end, which `finish` asks for.
pub(super) async fn serve(
    socket: TcpStream,
    server: Server,
    board: Arc<Board>,
    finish: CancellationToken,
) -> Connection {
    let (read, write) = socket.into_split();
    let mut peer = Peer {
        reader: Reader::new(read),
        write: Some(write),
        board,
        record: Connection::new(server),
    };
    tokio::select! {
        () = peer.run() => {}
        () = finish.cancelled() => peer.drain().await,
    }
    peer.record
}

struct Peer {
    reader: Reader<OwnedReadHalf>,
    /// `None` once this side has ended.
    write: Option<OwnedWriteHalf>,
    board: Arc<Board>,
    record: Connection,
}

impl Peer {
    async fn run(&mut self) {
        loop {
            match self.reader.head().await {
                Ok(None) | Err(Fault::Cut) => return,
                Err(Fault::Broken(what)) => return self.fault(format!("not HTTP: {what}")).await,
                Ok(Some(head)) => {
                    let (arrival, framing) = match read_head(&head) {
                        Ok(read) => read,
                        Err(what) => return self.fault(format!("not HTTP: {what}")).await,
                    };
                    self.record.arrivals.push(arrival);
                    if !self.exchange(framing).await {
                        return;
                    }
                }
            }
        }
    }

    /// One request and its answer; false at the end of the connection.
    async fn exchange(&mut self, framing: Framing) -> bool {
        let arrival = self.arrival();
        let (method, path) = (arrival.method.clone(), arrival.path.clone());
        let upgrade = arrival.has("upgrade");
        let Some(named) = self.board.known(&path) else {
            // The check tells that nobody sent it; whoever gets the response tells whose it is not.
            let smuggled =
                b"HTTP/1.1 200 OK\r\nx-id: smuggled\r\ncontent-length: 8\r\n\r\nsmuggled";
            let body = self.read_body(framing).await;
            return self.write(smuggled).await && body;
        };
        let attempt = self.board.next_attempt(self.record.server, &path);
        let answer = named.exchange.answer(attempt);
        if !answer.early && !self.read_body(framing).await {
            return false;
        }
        if !self.write(interim(answer.interim)).await {
            return false;
        }
        if let Some(plan) = Plan::of(&named, Upstream::Http1, &method, attempt) {
            return self
                .respond(&plan, answer.early.then_some(framing), upgrade)
                .await;
        }
        match answer.kind {
            AnswerKind::Switch(protocol) => {
                let unread = answer.early.then_some(framing);
                self.tunnel(&named, protocol, unread).await;
            }
            AnswerKind::Abort(cut) => self.end(cut).await,
            AnswerKind::HalfHead => {
                self.write(b"HTTP/1.1 200 Said\r\nx-id: ").await;
                self.end(Cut::Close).await;
            }
            AnswerKind::Silence => self.reader.rest(&mut Vec::new()).await,
            AnswerKind::Response { .. } => unreachable!("it has a plan"),
        }
        false
    }

    /// Writes a response and what follows it. `unread` is the framing of a body that was not read before.
    async fn respond(&mut self, plan: &Plan, unread: Option<Framing>, upgrade: bool) -> bool {
        if !self.write(&plan.wire()).await {
            return false;
        }
        if plan.cut == Some(Cut::Reset) {
            self.end(Cut::Reset).await;
            return false;
        }
        if plan.cut.is_some() {
            self.write = None;
        }
        if let Some(framing) = unread
            && !self.read_body(framing).await
        {
            return false;
        }
        let doubt = match (plan.doubt, plan.cut) {
            (Some(doubt), _) => Some(doubt),
            (None, Some(_)) if !plan.silent => Some("the end of the response was the last"),
            (None, Some(_)) => None,
            (None, None) if upgrade => Some("an upgrade that was refused"),
            (None, None) => return true,
        };
        match doubt {
            Some(doubt) => self.refuse_more(doubt).await,
            None => self.drain().await,
        }
        false
    }

    /// Takes what the client says in a tunnel, answers it, and ends. The tunnel begins behind the request's
    /// body (RFC 9110 section 7.8).
    async fn tunnel(&mut self, named: &Named, protocol: &str, unread: Option<Framing>) {
        let head = format!(
            "HTTP/1.1 101 Said\r\nconnection: upgrade\r\nupgrade: {protocol}\r\nx-id: {}\r\n\r\n",
            named.name
        );
        if !self.write(head.as_bytes()).await {
            return;
        }
        if let Some(framing) = unread
            && !self.read_body(framing).await
        {
            return;
        }
        let (said, heard) = named.tunnel();
        let mut bytes = Vec::new();
        while !bytes.ends_with(&said) {
            if self.reader.take(1, &mut bytes).await.is_err() {
                break;
            }
        }
        if bytes.ends_with(&said) {
            self.write(&heard).await;
            self.write = None;
            self.reader.rest(&mut bytes).await;
        }
        self.arrival().tunnel = bytes;
    }

    fn arrival(&mut self) -> &mut Arrival {
        let last = self.record.arrivals.last_mut();
        last.expect("an exchange begins with an arrival")
    }

    /// False if the body is cut or broken.
    async fn read_body(&mut self, framing: Framing) -> bool {
        let mut body = Vec::new();
        let read = self.reader.body(framing, &mut body).await;
        let arrival = self.arrival();
        arrival.body = body;
        match read {
            Ok(trailers) => {
                arrival.trailers = trailers;
                arrival.whole = true;
                true
            }
            Err(Fault::Cut) => false,
            Err(Fault::Broken(what)) => {
                self.fault(format!("not HTTP: {what}")).await;
                false
            }
        }
    }

    async fn refuse_more(&mut self, doubt: &str) {
        let mut more = Vec::new();
        if self.reader.take(1, &mut more).await.is_err() {
            return;
        }
        more.extend(self.reader.buffered());
        let shown = String::from_utf8_lossy(&more).into_owned();
        self.fault(format!("used after {doubt}: {shown:?}")).await;
    }

    async fn fault(&mut self, what: String) {
        self.record.faults.push(what);
        self.drain().await;
    }

    /// Ends this side and takes whatever still comes.
    async fn drain(&mut self) {
        self.write = None;
        self.reader.rest(&mut Vec::new()).await;
    }

    async fn write(&mut self, bytes: &[u8]) -> bool {
        match &mut self.write {
            Some(write) => write.write_all(bytes).await.is_ok(),
            None => false,
        }
    }

    async fn end(&mut self, cut: Cut) {
        if cut == Cut::Reset
            && let Some(write) = self.write.take()
        {
            write.as_ref().set_zero_linger().expect("a TCP option");
            // The socket goes with the reader, and must not be shut down before.
            write.forget();
            return;
        }
        self.drain().await;
    }
}

fn interim(interim: Interim) -> &'static [u8] {
    match interim {
        Interim::None => b"",
        Interim::Continue => b"HTTP/1.1 100 Continue\r\n\r\n",
        Interim::Hints => b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>\r\n\r\n",
    }
}

fn read_head(head: &crate::framing::wire::http1::Head) -> Result<(Arrival, Framing), String> {
    let told = |fault: Fault| format!("{fault:?}");
    let (method, path) = head.request().map_err(told)?;
    if head.all("host").count() != 1 {
        return Err("not one host".into());
    }
    let arrival = Arrival {
        method: method.to_owned(),
        path: path.to_owned(),
        fields: head.fields.clone(),
        ..Arrival::default()
    };
    Ok((arrival, head.request_framing().map_err(told)?))
}
