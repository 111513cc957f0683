//! A server that does what the path says.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;

type Body = BoxBody<Bytes, std::io::Error>;

/// Starts it, for HTTP/1 and HTTP/2.
pub(crate) async fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let requests = Arc::new(AtomicU32::new(0));
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let requests = requests.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let flaky = requests.clone();
                    async move { Ok::<_, Infallible>(respond(request, &flaky).await) }
                });
                // A client that goes away is part of the test.
                let _ = auto::Builder::new(TokioExecutor::new())
                    .serve_connection_with_upgrades(TokioIo::new(socket), service)
                    .await;
            });
        }
    });
    address
}

async fn respond(request: Request<Incoming>, flaky: &AtomicU32) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let word = path.rsplit('/').next().unwrap_or_default();
    match word {
        "hold" => std::future::pending().await,
        // The first of two requests fails.
        "flaky" if flaky.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) => with_status(503),
        "reset" => Response::new(reset()),
        "upgrade" => upgrade(request),
        "grpc" => grpc(request.into_body()),
        number => with_status(number.parse().unwrap_or(200)),
    }
}

fn with_status(status: u16) -> Response<Body> {
    let mut response = Response::new(text("body"));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

fn text(text: &'static str) -> Body {
    Full::from(text).map_err(|never| match never {}).boxed()
}

/// Breaks off after the head; over HTTP/2 the stream is reset.
fn reset() -> Body {
    let broken = Err(std::io::Error::other("broken"));
    BoxBody::new(StreamBody::new(tokio_stream::once(broken)))
}

fn upgrade(mut request: Request<Incoming>) -> Response<Body> {
    let upgraded = hyper::upgrade::on(&mut request);
    // The connection is not used; it ends with this.
    tokio::spawn(async move { drop(upgraded.await) });
    let response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header("connection", "upgrade")
        .header("upgrade", "websocket");
    let empty = Empty::new().map_err(|never: Infallible| match never {});
    response.body(empty.boxed()).unwrap()
}

/// Every message comes back, then the trailers.
fn grpc(body: Incoming) -> Response<Body> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let body = body
        .map_err(std::io::Error::other)
        .with_trailers(async move { Some(Ok(trailers)) });
    let mut response = Response::new(BoxBody::new(body));
    let content_type = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert("content-type", content_type);
    response
}
