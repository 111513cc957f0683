//! HTTP: describes the request in its answer, as the knobs say.

use std::{collections::BTreeMap, io, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header, request::Parts};
use http_body_util::{BodyExt, BodyStream, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_stream::StreamExt;

use super::{Echo, grpc_service, knobs::Knobs};
use crate::websocket;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// The body of every answer.
pub(super) type Body = UnsyncBoxBody<Bytes, BoxError>;

const CHUNK: Bytes = Bytes::from_static(&[b'x'; 64 * 1024]);

/// The request asked for its connection to be closed.
#[derive(Debug, thiserror::Error)]
#[error("closed as the request asked")]
struct Closed;

/// One connection.
pub(super) async fn connection<S>(echo: Arc<Echo>, stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    echo.counts.connection();
    let service = service_fn(|request| answer(echo.clone(), request));
    let mut server = auto::Builder::new(TokioExecutor::new());
    // Clients may end their side after the request and still read the answer.
    server.http1().half_close(true);
    // What the peer breaks off is its own affair.
    let _ = server
        .serve_connection_with_upgrades(TokioIo::new(stream), service)
        .await;
}

async fn answer(echo: Arc<Echo>, request: Request<Incoming>) -> Result<Response<Body>, Closed> {
    let is_grpc = request
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    match request.uri().path() {
        _ if is_grpc => Ok(grpc_service::answer(echo, request).await),
        "/ws" => Ok(upgrade(&echo, request)),
        "/counts" => Ok(text(json!(echo.counts.view()).to_string())),
        "/counts/reset" => {
            echo.counts.reset();
            Ok(text("{}".to_owned()))
        }
        "/control" => {
            echo.control.set(&request.into_parts().0);
            Ok(text("{}".to_owned()))
        }
        "/metrics" => Ok(metrics(&echo)),
        "/healthz" => Ok(text("ok".to_owned())),
        "/body" => Ok(echo_body(request)),
        _ => describe(&echo, request).await,
    }
}

async fn describe(echo: &Echo, request: Request<Incoming>) -> Result<Response<Body>, Closed> {
    let _active = echo.counts.enter();
    let (parts, body) = request.into_parts();
    let knobs = Knobs::of(&parts);
    let nth = echo.counts.request(&knobs.key);
    let (body_bytes, trailers) = drain(body).await;
    let delay = knobs.delay_of(nth).max(echo.control.delay());
    if delay > Duration::ZERO {
        tokio::time::sleep(delay).await;
    }
    if nth <= knobs.close {
        return Err(Closed);
    }
    let status = echo.control.status().unwrap_or(knobs.status_of(nth));
    let body = match knobs.bytes {
        Some(bytes) => filler(bytes),
        None => full(
            json!({
                "pod": echo.pod,
                "version": echo.version,
                "method": parts.method.as_str(),
                "path": parts.uri.path(),
                "query": parts.uri.query(),
                "host": host(&parts),
                "protocol": format!("{:?}", parts.version),
                "headers": fields(&parts.headers),
                "trailers": trailers.as_ref().map(fields),
                "body_bytes": body_bytes,
                "count": nth,
            })
            .to_string(),
        ),
    };
    Ok(respond(echo, &knobs, status, body))
}

fn respond(echo: &Echo, knobs: &Knobs, status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in [("x-pod", &echo.pod), ("x-version", &echo.version)] {
        if let Ok(value) = value.parse() {
            headers.insert(name, value);
        }
    }
    headers.extend(knobs.headers.iter().cloned());
    if let Some((name, value)) = knobs.trailer.clone() {
        headers.insert(header::TRAILER, name.clone().into());
        let trailers = HeaderMap::from_iter([(name, value)]);
        return response.map(|body| {
            let last = async move { Some(Ok::<_, BoxError>(trailers)) };
            // As a stream the body's length is unknown, so that HTTP/1.1 sends chunks, which trailers need.
            StreamBody::new(BodyStream::new(body.with_trailers(last))).boxed_unsync()
        });
    }
    response
}

/// Reads a body to its end without keeping it.
async fn drain(mut body: Incoming) -> (u64, Option<HeaderMap>) {
    let (mut bytes, mut trailers) = (0, None);
    while let Some(Ok(frame)) = body.frame().await {
        match frame.into_data() {
            Ok(data) => bytes += data.len() as u64,
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    (bytes, trailers)
}

/// Sends the request's body and trailers back while they arrive.
fn echo_body(request: Request<Incoming>) -> Response<Body> {
    Response::new(BodyExt::boxed_unsync(
        request.into_body().map_err(BoxError::from),
    ))
}

/// A body of `bytes` bytes that is never in memory as a whole.
fn filler(bytes: u64) -> Body {
    let chunk = CHUNK.len() as u64;
    let chunks = tokio_stream::iter(0..bytes.div_ceil(chunk)).map(move |index| {
        let length = chunk.min(bytes - index * chunk) as usize;
        Ok::<_, BoxError>(Frame::data(CHUNK.slice(..length)))
    });
    BodyExt::boxed_unsync(StreamBody::new(chunks))
}

fn upgrade(echo: &Echo, request: Request<Incoming>) -> Response<Body> {
    let Some(key) = request
        .headers()
        .get(header::SEC_WEBSOCKET_KEY)
        .and_then(|key| key.to_str().ok())
    else {
        let mut response = text("a WebSocket handshake is expected".to_owned());
        *response.status_mut() = StatusCode::BAD_REQUEST;
        return response;
    };
    let accept = websocket::accept_key(key);
    echo.counts.request("/ws");
    tokio::spawn(async move {
        let stream = hyper::upgrade::on(request)
            .await
            .map_err(io::Error::other)?;
        websocket::echo(TokioIo::new(stream)).await
    });
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_ACCEPT, accept)
        .header("x-pod", &echo.pod)
        .header("x-version", &echo.version)
        .body(full(String::new()))
        .expect("all fields are valid")
}

fn metrics(echo: &Echo) -> Response<Body> {
    let mut response = text(format!(
        "# HELP testapp_requests_total Requests that were answered\n\
         # TYPE testapp_requests_total counter\n\
         testapp_requests_total{{version=\"{}\"}} {}\n",
        echo.version,
        echo.counts.total()
    ));
    let kind = http::HeaderValue::from_static("text/plain; version=0.0.4");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn host(parts: &Parts) -> Option<String> {
    let authority = parts.uri.authority().map(ToString::to_string);
    authority.or_else(|| {
        let host = parts.headers.get(header::HOST)?;
        Some(String::from_utf8_lossy(host.as_bytes()).into_owned())
    })
}

/// Names and values, several values of one name joined by commas.
fn fields(headers: &HeaderMap) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::<String, String>::new();
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        fields
            .entry(name.to_string())
            .and_modify(|values| {
                values.push(',');
                values.push_str(&value);
            })
            .or_insert_with(|| value.to_string());
    }
    fields
}

fn text(text: String) -> Response<Body> {
    Response::new(full(text))
}

fn full(text: String) -> Body {
    Full::from(text)
        .map_err(|never| match never {})
        .boxed_unsync()
}
