//! Clients of HTTP/2.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use h2::client::{ResponseFuture, SendRequest};
use h2::ext::Protocol;
use h2::{Ping, Reason, SendStream};
use http::{HeaderMap, HeaderValue, Method, Request};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::{Outcome, Response, Seen, seen};
use crate::framing::lane::LIMIT;
use crate::framing::script::{Body, End, Exchange, Malformed, Pace, Upgrade};
use crate::framing::wire::Named;

pub(super) async fn play(address: SocketAddr, burst: bool, all: &[Arc<Named>]) -> Vec<Seen> {
    let limited = |outcome: Result<Outcome, _>| seen(outcome.unwrap_or(Outcome::Hang));
    if burst {
        let client = Client::connect(address).await;
        let exchange = |named: &Arc<Named>| {
            let named = named.clone();
            let client = &client;
            async move { tokio::time::timeout(LIMIT, client.exchange(&named)).await }
        };
        let outcomes = join_all(all.iter().map(exchange)).await;
        return outcomes.into_iter().map(limited).collect();
    }
    let mut result = Vec::new();
    let mut client: Option<Client> = None;
    for named in all {
        let usable = client.take().filter(|client| !client.driver.is_finished());
        let connected = match usable {
            Some(client) => client,
            None => Client::connect(address).await,
        };
        let outcome = tokio::time::timeout(LIMIT, connected.exchange(named)).await;
        result.push(limited(outcome));
        client = Some(connected);
    }
    result
}

struct Client {
    sender: SendRequest<Bytes>,
    driver: JoinHandle<()>,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Client {
    async fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address)
            .await
            .expect("the proxy listens");
        socket.set_nodelay(true).expect("a TCP option");
        let handshake = h2::client::handshake(socket).await;
        let (sender, mut connection) = handshake.expect("a handshake");
        let mut pings = connection.ping_pong().expect("the first use");
        let driver = tokio::spawn(async move {
            // How a connection ends is seen by its streams.
            connection.await.ok();
        });
        // The server's settings came before its pong: extended CONNECT is known then.
        pings.ping(Ping::opaque()).await.ok();
        Self { sender, driver }
    }

    async fn exchange(&self, named: &Named) -> Outcome {
        let Ok(mut sender) = self.sender.clone().ready().await else {
            return Outcome::Ended;
        };
        let exchange = &named.exchange;
        let tunnels = exchange.upgrade != Upgrade::None;
        let ends_with_head = exchange.body == Body::None && !tunnels;
        let sent = sender.send_request(request(named), ends_with_head);
        let Ok((response, mut stream)) = sent else {
            return Outcome::Ended;
        };
        let late = exchange.pace == Pace::AfterResponse;
        if !late && send_body(named, &mut stream) {
            return Outcome::Abandoned;
        }
        if exchange.pace == Pace::Abandon {
            stream.send_reset(Reason::CANCEL);
            return Outcome::Abandoned;
        }
        let outcome = read(named, response, &mut stream).await;
        if late {
            send_body(named, &mut stream);
        }
        stream.send_reset(Reason::CANCEL);
        outcome
    }
}

fn request(named: &Named) -> Request<()> {
    let Exchange {
        method,
        body,
        upgrade,
        ..
    } = &named.exchange;
    let uri = format!("http://{}{}", named.host, named.path());
    let mut request = Request::builder().method(*method).uri(uri);
    request = request.header("x-id", &named.name);
    for length in lengths(*body) {
        request = request.header("content-length", length);
    }
    let mut request = request.body(()).expect("a request");
    if *upgrade != Upgrade::None {
        let protocol = match upgrade {
            Upgrade::WebSocket => "websocket",
            Upgrade::List | Upgrade::TwoLines => "websocket, other",
            _ => "other",
        };
        *request.method_mut() = Method::CONNECT;
        request.extensions_mut().insert(Protocol::from(protocol));
    }
    request
}

fn lengths(body: Body) -> Vec<usize> {
    match body {
        Body::Length(length) | Body::LengthThenRequest(length) => vec![length],
        Body::LengthCut { announced, .. } => vec![announced],
        Body::Malformed(Malformed::TwoLengths) => vec![12, 14],
        _ => Vec::new(),
    }
}

/// Sends the body; true if the client gives the stream up then. Data that the connection does not take is as
/// good as sent: the response tells.
fn send_body(named: &Named, stream: &mut SendStream<Bytes>) -> bool {
    let open = named.exchange.upgrade != Upgrade::None;
    match named.exchange.body {
        Body::None => {}
        Body::Length(size) => send(stream, named.body(size), !open),
        Body::Chunked {
            size,
            chunk,
            trailers,
            ..
        } => {
            for data in named.body(size).chunks(chunk.max(1)) {
                send(stream, data.to_vec(), false);
            }
            match trailers && !open {
                true => {
                    let value = HeaderValue::from_str(&named.trailer()).expect("plain text");
                    let trailers =
                        HeaderMap::from_iter([(http::HeaderName::from_static("x-trailer"), value)]);
                    stream.send_trailers(trailers).ok();
                }
                false => send(stream, Vec::new(), !open),
            }
        }
        Body::LengthCut { sent, end, .. } => {
            send(stream, named.body(sent), end == End::HalfClose);
            return give_up(stream, end);
        }
        Body::ChunkedCut { size, end } => {
            send(stream, named.body(size), false);
            return give_up(stream, if end == End::Wait { end } else { End::Reset });
        }
        Body::LengthThenRequest(size) => {
            let more = [named.body(size), named.smuggled()].concat();
            send(stream, more, true);
        }
        Body::Malformed(Malformed::TwoLengths) => send(stream, named.body(12), true),
        // Chunks are not for HTTP/2: the stream is cut in their place.
        Body::Malformed(_) => {
            send(stream, named.body(12), false);
            return give_up(stream, End::Reset);
        }
    }
    false
}

fn give_up(stream: &mut SendStream<Bytes>, end: End) -> bool {
    let gives_up = matches!(end, End::Close | End::Reset);
    if gives_up {
        stream.send_reset(Reason::CANCEL);
    }
    gives_up
}

fn send(stream: &mut SendStream<Bytes>, data: Vec<u8>, end: bool) {
    stream.send_data(data.into(), end).ok();
}

async fn read(named: &Named, response: ResponseFuture, stream: &mut SendStream<Bytes>) -> Outcome {
    let response = match response.await {
        Ok(response) => response,
        Err(error) => return failed(&error),
    };
    let (head, mut body) = response.into_parts();
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let fields = head
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), text(value)));
    let mut response = Response {
        status: head.status.as_u16(),
        fields: fields.collect(),
        ..Response::default()
    };
    let is_tunnel = named.exchange.upgrade != Upgrade::None
        && response.field("x-id").is_some()
        && response.field("x-attempt").is_none();
    if is_tunnel {
        send(stream, named.tunnel().0, false);
    }
    loop {
        match body.data().await {
            Some(Ok(data)) => {
                body.flow_control().release_capacity(data.len()).ok();
                response.body.extend_from_slice(&data);
            }
            Some(Err(error)) => match failed(&error) {
                Outcome::Ended => break,
                broken => return broken,
            },
            None => {
                response.whole = true;
                break;
            }
        }
    }
    if is_tunnel {
        response.tunnel = Some(std::mem::take(&mut response.body));
    }
    Outcome::Response(response)
}

/// What this side finds wrong is the proxy's fault; a reset or the end of the connection is an end.
fn failed(error: &h2::Error) -> Outcome {
    match error.is_library() {
        true => Outcome::Broken(error.to_string()),
        false => Outcome::Ended,
    }
}
