//! Requests and responses: streaming, trailers, retries, mirrors, upgrades, limits.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use proxy::app::data_plane::DrainTimes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

use super::upstream::{Body, HTTP2, proxy, text, upstream};
use crate::harness::{LIMIT, Proxy};

async fn client(proxy: &Proxy) -> http1::SendRequest<Full<Bytes>> {
    let io = TokioIo::new(proxy.connect("in").await);
    let (sender, connection) = http1::handshake(io).await.unwrap();
    tokio::spawn(connection.with_upgrades());
    sender
}

fn post(body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let request = Request::post("/").header("host", "a");
    request.body(Full::new(body.into())).unwrap()
}

async fn send(proxy: &Proxy, request: Request<Full<Bytes>>) -> (StatusCode, Bytes) {
    let mut client = client(proxy).await;
    let response = tokio::time::timeout(LIMIT, client.send_request(request));
    let response = response.await.expect("an answer").unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, body)
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_streams_both_ways_at_once_with_trailers() {
    let server = upstream(|request| async move {
        // Every message comes back as it arrives; then the trailers.
        let (frames, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            let mut body = request.into_body();
            while let Some(Ok(frame)) = body.frame().await {
                if let Ok(data) = frame.into_data() {
                    frames
                        .send(Ok::<_, Infallible>(Frame::data(data)))
                        .await
                        .unwrap();
                }
            }
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from_static("0"));
            frames.send(Ok(Frame::trailers(trailers))).await.unwrap();
        });
        Response::new(StreamBody::new(ReceiverStream::new(receiver)).boxed())
    })
    .await;
    let proxy = proxy("cluster: up", "", &[("up", server, HTTP2)]).await;
    let io = TokioIo::new(proxy.connect("in").await);
    let (mut client, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let (messages, receiver) = mpsc::channel::<Bytes>(1);
    let frames = ReceiverStream::new(receiver).map(|data| Ok::<_, Infallible>(Frame::data(data)));
    let request = Request::post("http://a/pkg.Svc/Echo")
        .header("content-type", "application/grpc")
        .body(StreamBody::new(frames))
        .unwrap();
    messages.send(Bytes::from_static(b"one")).await.unwrap();
    let mut response = client.send_request(request).await.unwrap();
    for message in ["one", "two", "three"] {
        if message != "one" {
            messages
                .send(Bytes::from_static(message.as_bytes()))
                .await
                .unwrap();
        }
        let frame = response.body_mut().frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), message);
    }
    drop(messages);
    let trailers = response.body_mut().frame().await.unwrap().unwrap();
    assert_eq!(trailers.into_trailers().unwrap()["grpc-status"], "0");
    proxy.data_plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_sends_the_whole_body_again() {
    let tries = Arc::new(AtomicU32::new(0));
    let counted = tries.clone();
    let server = upstream(move |request| {
        let n = counted.fetch_add(1, Ordering::SeqCst);
        async move {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let mut response = Response::new(text(body));
            if n < 2 {
                *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            }
            response
        }
    })
    .await;
    let retry = "cluster: up, retry_policy: { retry_on: 5xx, num_retries: 3, \
                 retry_back_off: { base_interval: 0.001s } }";
    let proxy = proxy(retry, "", &[("up", server, "")]).await;
    let body = vec![b'x'; 300_000];
    assert_eq!(
        send(&proxy, post(body.clone())).await,
        (StatusCode::OK, body.into())
    );
    assert_eq!(tries.load(Ordering::SeqCst), 3);
    proxy.data_plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_beyond_the_limit_is_sent_once() {
    let tries = Arc::new(AtomicU32::new(0));
    let counted = tries.clone();
    let server = upstream(move |request| {
        counted.fetch_add(1, Ordering::SeqCst);
        async move {
            let length = request
                .into_body()
                .collect()
                .await
                .unwrap()
                .to_bytes()
                .len();
            let mut response = Response::new(text(length.to_string()));
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            response
        }
    })
    .await;
    let retry = "cluster: up, retry_policy: { retry_on: 5xx, num_retries: 3 }";
    let proxy = proxy(retry, "", &[("up", server, "")]).await;
    let answer = send(&proxy, post(vec![0; 3 << 20])).await;
    assert_eq!(answer, (StatusCode::SERVICE_UNAVAILABLE, "3145728".into()));
    assert_eq!(tries.load(Ordering::SeqCst), 1);
    proxy.data_plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_gets_the_body_and_its_answer_is_dropped() {
    let server = upstream(|request| async move {
        let body = request.into_body().collect().await.unwrap().to_bytes();
        Response::new(text(body))
    })
    .await;
    let (seen, mut shadows) = mpsc::channel(1);
    let shadow = upstream(move |request| {
        let seen = seen.clone();
        async move {
            let host = request.headers()["host"].to_str().unwrap().to_owned();
            let body = request.into_body().collect().await.unwrap().to_bytes();
            seen.send((host, body)).await.unwrap();
            Response::new(text("shadow"))
        }
    })
    .await;
    let action = "cluster: up, request_mirror_policies: [{ cluster: shadow }]";
    let proxy = proxy(action, "", &[("up", server, ""), ("shadow", shadow, "")]).await;
    let answer = send(&proxy, post("hello")).await;
    assert_eq!(answer, (StatusCode::OK, "hello".into()));
    let shadowed = tokio::time::timeout(LIMIT, shadows.recv()).await.unwrap();
    assert_eq!(shadowed, Some(("a-shadow".into(), "hello".into())));
    proxy.data_plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn websockets_pass() {
    let server = upstream(|mut request| async move {
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut io = TokioIo::new(upgrade.await.unwrap());
            let mut word = [0; 4];
            io.read_exact(&mut word).await.unwrap();
            io.write_all(&word).await.unwrap();
        });
        let response = Response::builder()
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .header("connection", "upgrade")
            .header("upgrade", "websocket");
        response.body(text("")).unwrap()
    })
    .await;
    let upgrades = "upgrade_configs: [{ upgrade_type: websocket }],";
    let proxy = proxy("cluster: up", upgrades, &[("up", server, "")]).await;
    let mut client = client(&proxy).await;
    let request = Request::get("/")
        .header("host", "a")
        .header("connection", "upgrade")
        .header("upgrade", "websocket");
    let request = request.body(Full::default()).unwrap();
    let response = client.send_request(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    let mut io = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    io.write_all(b"ping").await.unwrap();
    let mut word = [0; 4];
    io.read_exact(&mut word).await.unwrap();
    assert_eq!(&word, b"ping");
    proxy.data_plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_timeout_answers_504() {
    let server = upstream(|_| std::future::pending::<Response<Body>>()).await;
    let proxy = proxy("cluster: up, timeout: 0.05s", "", &[("up", server, "")]).await;
    let answer = send(&proxy, post("x")).await;
    let expected = (
        StatusCode::GATEWAY_TIMEOUT,
        "upstream request timeout".into(),
    );
    assert_eq!(answer, expected);
    proxy.data_plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_request_of_a_connection_says_so() {
    let server = upstream(|_| async { Response::new(text("")) }).await;
    let limit = "common_http_protocol_options: { max_requests_per_connection: 2 },";
    let proxy = proxy("cluster: up", limit, &[("up", server, "")]).await;
    let mut client = client(&proxy).await;
    let mut closes = Vec::new();
    for _ in 0..2 {
        client.ready().await.unwrap();
        let response = client.send_request(post("")).await.unwrap();
        closes.push(response.headers().contains_key("connection"));
    }
    assert_eq!(closes, [false, true]);
    proxy.data_plane.stop().await;
}

/// Sends trailers both ways over HTTP/1; returns those that the server and the client got.
async fn http1_trailers(downstream: &str, upstream_options: &str) -> [Option<HeaderMap>; 2] {
    let (seen, mut received) = mpsc::channel(1);
    let server = upstream(move |request| {
        let seen = seen.clone();
        async move {
            let trailers = request.into_body().collect().await.unwrap();
            seen.send(trailers.trailers().cloned()).await.unwrap();
            let mut response = Response::new(with_trailers("x-down", "2").boxed());
            let names = HeaderValue::from_static("x-down");
            response.headers_mut().insert("trailer", names);
            response
        }
    })
    .await;
    let proxy = proxy(
        "cluster: up, retry_policy: { retry_on: 5xx }",
        downstream,
        &[("up", server, upstream_options)],
    )
    .await;
    let io = TokioIo::new(proxy.connect("in").await);
    let (mut client, connection) = http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post("/")
        .header("host", "a")
        .header("te", "trailers")
        .header("trailer", "x-up")
        .body(with_trailers("x-up", "1"))
        .unwrap();
    let response = tokio::time::timeout(LIMIT, client.send_request(request));
    let response = response.await.expect("an answer").unwrap();
    let body = response.into_body().collect().await.unwrap();
    let down = body.trailers().cloned();
    assert_eq!(body.to_bytes(), "body");
    proxy.data_plane.stop().await;
    [received.recv().await.unwrap(), down]
}

fn with_trailers(
    name: &'static str,
    value: &'static str,
) -> StreamBody<impl tokio_stream::Stream<Item = Result<Frame<Bytes>, Infallible>>> {
    let mut trailers = HeaderMap::new();
    trailers.insert(name, HeaderValue::from_static(value));
    let body = Frame::data(Bytes::from_static(b"body"));
    StreamBody::new(tokio_stream::iter([
        Ok(body),
        Ok(Frame::trailers(trailers)),
    ]))
}

#[tokio::test(flavor = "multi_thread")]
async fn http1_trailers_pass_where_both_sides_enable_them() {
    let downstream = "http_protocol_options: { enable_trailers: true },";
    let upstream = "typed_extension_protocol_options: { \
        envoy.extensions.upstreams.http.v3.HttpProtocolOptions: { \
        \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, \
        explicit_http_config: { http_protocol_options: { enable_trailers: true } } } },";
    let field = |name, value| {
        let field = [(name, HeaderValue::from_static(value))];
        let field = field.map(|(name, value)| (http::HeaderName::from_static(name), value));
        Some(HeaderMap::from_iter(field))
    };
    let both = [field("x-up", "1"), field("x-down", "2")];
    assert_eq!(http1_trailers(downstream, upstream).await, both);
    assert_eq!(http1_trailers("", upstream).await, [None, None]);
    assert_eq!(http1_trailers(downstream, "").await, [None, None]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_meets_a_drain_is_answered() {
    let server = upstream(|_| async { Response::new(text("a")) }).await;
    let proxy = proxy("cluster: up", "", &[("up", server, "")]).await;
    let address = proxy.address("in");
    let mut client = client(&proxy).await;
    let response = client.send_request(post("")).await.unwrap();
    assert_eq!(response.headers().get("connection"), None);
    response.into_body().collect().await.unwrap();

    let drain = proxy.data_plane.drain(DrainTimes {
        accept: Duration::ZERO,
        limit: Duration::from_secs(60),
    });
    let last_request = async {
        // Workers drain what they have when they refuse what is new.
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        // The connection was idle, and still takes a request; then it ends.
        let response = client.send_request(post("")).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["connection"], "close");
        response.into_body().collect().await.unwrap();
    };
    tokio::time::timeout(LIMIT, async { tokio::join!(drain, last_request) })
        .await
        .expect("the drain ends with the last connection");
    proxy.data_plane.stop().await;
}
