//! The server behind a contender: it answers with what it was sent, or misbehaves as the path asks.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

/// A running server; ends when dropped.
pub struct Upstream {
    /// Its port on 127.0.0.1.
    pub port: u16,
    task: AbortHandle,
}

/// Attempts seen, by row.
type Attempts = Arc<Mutex<HashMap<String, u32>>>;

impl Upstream {
    /// Starts a server that calls itself `name`.
    pub async fn start(name: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("a bound address").port();
        let attempts = Attempts::default();
        let serve = async move {
            while let Ok((stream, _)) = listener.accept().await {
                let attempts = attempts.clone();
                tokio::spawn(async move {
                    let service =
                        service_fn(move |request| answer(name, attempts.clone(), request));
                    let io = TokioIo::new(stream);
                    let server = auto::Builder::new(TokioExecutor::new());
                    // A connection that ends early is what some rows ask for.
                    let _ = server.serve_connection_with_upgrades(io, service).await;
                });
            }
        };
        Self {
            port,
            task: tokio::spawn(serve).abort_handle(),
        }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Ends the connection without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the row asks for a connection that ends without an answer")]
struct HangUp;

/// What the path asks for: `/BEHAVIOUR/NUMBER...?code=CODE&ms=MILLISECONDS`.
struct Wish {
    behaviour: String,
    number: u64,
    code: Option<StatusCode>,
    milliseconds: u64,
}

impl Wish {
    fn of(uri: &http::Uri) -> Self {
        let mut segments = uri.path().split('/').skip(1);
        let query: HashMap<_, _> = uri
            .query()
            .unwrap_or("")
            .split('&')
            .filter_map(|p| p.split_once('='))
            .collect();
        Self {
            behaviour: segments.next().unwrap_or_default().to_owned(),
            number: segments.next().and_then(|n| n.parse().ok()).unwrap_or(0),
            code: query.get("code").and_then(|c| c.parse().ok()),
            milliseconds: query
                .get("ms")
                .and_then(|ms| ms.parse().ok())
                .unwrap_or(400),
        }
    }
}

type Body = BoxBody<Bytes, Infallible>;

async fn answer(
    name: &str,
    attempts: Attempts,
    request: Request<Incoming>,
) -> Result<Response<Body>, HangUp> {
    let wish = Wish::of(request.uri());
    let row = request
        .headers()
        .get("x-row")
        .and_then(|v| v.to_str().ok())
        .unwrap_or("none")
        .to_owned();
    let attempt = {
        let mut attempts = attempts.lock().expect("no holder panics");
        let count = attempts.entry(row).or_default();
        *count += 1;
        u64::from(*count)
    };
    let failing = attempt <= wish.number;
    let mut response = Response::new(Full::default().boxed());
    match wish.behaviour.as_str() {
        "hangup" if failing => return Err(HangUp),
        "fail" if failing => {
            *response.status_mut() = wish.code.unwrap_or(StatusCode::SERVICE_UNAVAILABLE)
        }
        "slow" if failing => tokio::time::sleep(Duration::from_millis(wish.milliseconds)).await,
        "delay" => tokio::time::sleep(Duration::from_millis(wish.number)).await,
        "status" => *response.status_mut() = status(wish.number),
        "grpcfail" if failing => {
            response
                .headers_mut()
                .insert("content-type", HeaderValue::from_static("application/grpc"));
            response
                .headers_mut()
                .insert("grpc-status", HeaderValue::from_static("14"));
            return Ok(response);
        }
        "trailers" => return Ok(with_trailers(name)),
        "notmodified" => *response.status_mut() = StatusCode::NOT_MODIFIED,
        _ => {}
    }
    headers(name, attempt, &wish, response.headers_mut());
    let report = report(name, request).await;
    if !matches!(
        response.status(),
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
    ) {
        *response.body_mut() = Full::from(report).boxed();
    }
    Ok(response)
}

fn status(number: u64) -> StatusCode {
    u16::try_from(number)
        .ok()
        .and_then(|n| StatusCode::from_u16(n).ok())
        .unwrap_or(StatusCode::OK)
}

fn headers(name: &str, attempt: u64, wish: &Wish, headers: &mut HeaderMap) {
    let name = HeaderValue::from_str(name).expect("a plain name");
    headers.insert("x-upstream", name);
    headers.insert("x-attempt", attempt.into());
    headers.insert("x-upstream-secret", HeaderValue::from_static("hidden"));
    headers.insert("x-gone", HeaderValue::from_static("gone"));
    headers.insert("x-resp", HeaderValue::from_static("upstream"));
    if wish.behaviour == "fail" && attempt <= wish.number {
        headers.insert("x-retry-me", HeaderValue::from_static("1"));
    }
}

/// What the server was sent, in a steady order.
async fn report(name: &str, request: Request<Incoming>) -> String {
    let (head, body) = request.into_parts();
    let target = head
        .uri
        .path_and_query()
        .map_or("*", |target| target.as_str())
        .to_owned();
    let mut lines = vec![
        format!("upstream {name}"),
        format!("{} {target} {:?}", head.method, head.version),
    ];
    let mut sorted = BTreeMap::<String, Vec<String>>::new();
    for (name, value) in &head.headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        sorted.entry(name.to_string()).or_default().push(value);
    }
    for (name, values) in sorted {
        lines.extend(values.into_iter().map(|value| format!("{name}: {value}")));
    }
    match body.collect().await {
        Ok(collected) => {
            let trailers = collected
                .trailers()
                .map(|t| format!(" trailers {}", t.len()))
                .unwrap_or_default();
            let bytes = collected.to_bytes();
            lines.push(format!(
                "body {}{trailers}: {}",
                bytes.len(),
                String::from_utf8_lossy(&bytes)
            ));
        }
        Err(_) => lines.push("body broken off".to_owned()),
    }
    lines.join("\n")
}

fn with_trailers(name: &str) -> Response<Body> {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-trailer", HeaderValue::from_static("last"));
    let frames = [
        Ok(Frame::data(Bytes::from_static(b"first"))),
        Ok(Frame::trailers(trailers)),
    ];
    let body = StreamBody::new(futures_util::stream::iter(frames));
    let mut response = Response::new(BodyExt::boxed(body));
    response
        .headers_mut()
        .insert("trailer", HeaderValue::from_static("x-trailer"));
    response.headers_mut().insert(
        "x-upstream",
        HeaderValue::from_str(name).expect("a plain name"),
    );
    response
}
