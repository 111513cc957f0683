//! The origin over HTTP/2.

use std::future::poll_fn;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::plan::{Plan, Shown, is_bodyless};
use super::{Arrival, Board, Connection, Server};
use crate::framing::script::{AnswerKind, Content, Cut, Interim, Upstream};
use crate::framing::wire::Named;

/// Serves a connection to its end, which `finish` asks for.
pub(super) async fn serve(
    socket: TcpStream,
    board: Arc<Board>,
    finish: CancellationToken,
) -> Connection {
    let record = Arc::new(Mutex::new(Connection::new(Server::Http2)));
    let streams = TaskTracker::new();
    let Ok(mut connection) = h2::server::handshake(socket).await else {
        return Connection::new(Server::Http2);
    };
    let mut finishing = false;
    loop {
        let accepted = tokio::select! {
            accepted = connection.accept() => accepted,
            () = finish.cancelled(), if !finishing => {
                finishing = true;
                connection.graceful_shutdown();
                continue;
            }
        };
        let Some(Ok((request, respond))) = accepted else {
            break;
        };
        let stream = Stream {
            board: board.clone(),
            record: record.clone(),
            index: 0,
            finish: finish.clone(),
        };
        streams.spawn(stream.serve(request, respond));
    }
    drop(connection);
    streams.close();
    streams.wait().await;
    let record = Arc::try_unwrap(record).expect("all streams have ended");
    record.into_inner().expect("no holder panics")
}

struct Stream {
    board: Arc<Board>,
    record: Arc<Mutex<Connection>>,
    /// Of the arrival.
    index: usize,
    finish: CancellationToken,
}

impl Stream {
    async fn serve(mut self, request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
        let (head, mut body) = request.into_parts();
        let path = head
            .uri
            .path_and_query()
            .map_or_else(String::new, ToString::to_string);
        let arrival = Arrival {
            method: head.method.to_string(),
            path: path.clone(),
            fields: fields(&head.headers),
            ..Arrival::default()
        };
        self.index = {
            let mut record = self.record.lock().expect("no holder panics");
            record.arrivals.push(arrival);
            record.arrivals.len() - 1
        };
        let Some(named) = self.board.known(&path) else {
            let response = Response::builder().header("x-id", "smuggled");
            respond
                .send_response(response.body(()).expect("a response"), true)
                .ok();
            return;
        };
        let attempt = self.board.next_attempt(Server::Http2, &path);
        let answer = named.exchange.answer(attempt);
        if !answer.early && !self.read(&mut body).await {
            return;
        }
        if answer.interim == Interim::Hints {
            let hints = Response::builder()
                .status(103)
                .body(())
                .expect("a response");
            respond.send_informational(hints).ok();
        }
        let sent = self
            .answer(&named, head.method.as_str(), attempt, &mut respond)
            .await;
        if answer.early && sent {
            self.read(&mut body).await;
        }
    }

    /// Reads the body; false if it breaks off.
    async fn read(&self, body: &mut RecvStream) -> bool {
        let mut bytes = Vec::new();
        let mut read = Ok(());
        while let Some(data) = body.data().await {
            match data {
                Ok(data) => {
                    body.flow_control().release_capacity(data.len()).ok();
                    bytes.extend_from_slice(&data);
                }
                Err(error) => {
                    read = Err(error);
                    break;
                }
            }
        }
        let trailers = match read {
            Ok(()) => body.trailers().await,
            Err(error) => Err(error),
        };
        let mut record = self.record.lock().expect("no holder panics");
        let arrival = &mut record.arrivals[self.index];
        arrival.body = bytes;
        arrival.whole = trailers.is_ok();
        if let Ok(Some(trailers)) = &trailers {
            arrival.trailers = fields(trailers);
        }
        trailers.is_ok()
    }

    /// Sends the answer; false if there is nothing more to be read.
    async fn answer(
        &self,
        named: &Named,
        method: &str,
        attempt: usize,
        respond: &mut SendResponse<Bytes>,
    ) -> bool {
        let Some(plan) = Plan::of(named, Upstream::Http2, method, attempt) else {
            match named.exchange.answer(attempt).kind {
                AnswerKind::Silence => self.wait_for_reset(respond).await,
                AnswerKind::Abort(Cut::Close) => respond.send_reset(Reason::REFUSED_STREAM),
                _ => respond.send_reset(Reason::INTERNAL_ERROR),
            }
            return false;
        };
        let AnswerKind::Response { content, .. } = named.exchange.answer(attempt).kind else {
            return false;
        };
        let mut response = Response::builder().status(plan.status);
        for (name, value) in &plan.fields {
            // What belongs to the connection is not for HTTP/2 (RFC 9113 section 8.2.2).
            if !matches!(*name, "connection" | "transfer-encoding") {
                response = response.header(*name, value);
            }
        }
        let response = response.body(()).expect("a response");
        let bodyless = is_bodyless(method, plan.status);
        let Ok(mut stream) = respond.send_response(response, bodyless) else {
            return false;
        };
        if bodyless {
            return true;
        }
        send_body(&mut stream, &plan, content);
        true
    }

    async fn wait_for_reset(&self, respond: &mut SendResponse<Bytes>) {
        tokio::select! {
            _ = poll_fn(|cx| respond.poll_reset(cx)) => {}
            () = self.finish.cancelled() => {}
        }
    }
}

/// The body and its end; what cannot be said in HTTP/2 is a reset.
fn send_body(stream: &mut SendStream<Bytes>, plan: &Plan, content: Content) {
    let mut data = plan.body.clone();
    if plan.shown == Shown::Either {
        data.extend(b"bytes that nobody asked for");
    }
    match content {
        Content::Chunked { trailers: true, .. } => {
            let mut trailers = HeaderMap::new();
            trailers.insert("x-trailer", HeaderValue::from_static("last"));
            stream.send_data(data.into(), false).ok();
            stream.send_trailers(trailers).ok();
        }
        Content::ChunkedCut { .. } | Content::ChunkedBroken { .. } => {
            stream.send_data(data.into(), false).ok();
            stream.send_reset(Reason::INTERNAL_ERROR);
        }
        _ => {
            stream.send_data(data.into(), true).ok();
        }
    }
}

fn fields(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers
        .iter()
        .map(|(name, value)| (name.to_string(), text(value)))
        .collect()
}
