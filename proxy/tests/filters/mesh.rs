//! A proxy with scripted filters, an upstream that tells what it got, and clients of both protocols.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use proxy::tls::secret_store::SecretStore;
use tokio::net::TcpListener;

use super::script::{Script, registry};
use crate::harness::{LIMIT, Proxy, bootstrap, cluster, listener};

/// What a side speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// Both protocols, on both sides.
pub(crate) const PROTOCOLS: [Protocol; 2] = [Protocol::Http1, Protocol::Http2];

/// What a client is told.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
    pub(crate) trailers: Option<HeaderMap>,
    /// The response broke off.
    pub(crate) cut: bool,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// Status and body.
    pub(crate) fn brief(&self) -> (u16, &str) {
        (self.status, &self.body)
    }
}

/// What a proxy is started with.
#[derive(Default)]
pub(crate) struct Mesh {
    pub(crate) scripts: Vec<(&'static str, Script)>,
    /// Entries of `http_filters` before the router.
    pub(crate) filters: Vec<String>,
    /// Entries of `http_filters` of the clusters before the codec.
    pub(crate) upstream_filters: Vec<String>,
    /// Routes; one to `one` for everything if there are none.
    pub(crate) routes: Vec<String>,
    /// Further fields of the connection manager, each ended by a comma.
    pub(crate) manager: String,
}

/// Two upstreams, `one` and `two`, behind a proxy.
pub(crate) struct Running {
    pub(crate) proxy: Proxy,
    /// Requests that reached an upstream.
    pub(crate) reached: Arc<AtomicU32>,
}

impl Mesh {
    pub(crate) async fn start(self, upstream: Protocol) -> Running {
        let reached = Arc::new(AtomicU32::new(0));
        let one = upstream_server("one", reached.clone()).await;
        let two = upstream_server("two", reached.clone()).await;
        let routes = match self.routes.as_slice() {
            [] => route("/", "one", ""),
            routes => routes.join(", "),
        };
        let mut filters = self.filters;
        filters.push(
            "{ name: router, typed_config: { \"@type\": \
             type.googleapis.com/envoy.extensions.filters.http.router.v3.Router } }"
                .into(),
        );
        let manager = format!(
            "{{ filters: [{{ name: http, typed_config: {{ \
               \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager, \
               stat_prefix: http, http_protocol_options: {{ enable_trailers: true }}, {} \
               http_filters: [{}], \
               route_config: {{ name: r, virtual_hosts: [{{ name: v, domains: [\"*\"], \
               routes: [{routes}] }}] }} }} }}] }}",
            self.manager,
            filters.join(", "),
        );
        let mut upstream_filters = self.upstream_filters;
        upstream_filters.push(
            "{ name: codec, typed_config: { \"@type\": \
             type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec } }"
                .into(),
        );
        let protocol = match upstream {
            Protocol::Http1 => "http_protocol_options: { enable_trailers: true }",
            Protocol::Http2 => "http2_protocol_options: {}",
        };
        let options = format!(
            "typed_extension_protocol_options: {{ \
               envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {{ \
               \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, \
               http_filters: [{}], explicit_http_config: {{ {protocol} }} }} }},",
            upstream_filters.join(", "),
        );
        let clusters = [("one", one), ("two", two)];
        let clusters = clusters.map(|(name, address)| cluster(name, address, &options));
        let bootstrap = bootstrap(&[listener("in", "", &[manager])], &clusters);
        let filters = registry(self.scripts);
        let proxy = Proxy::start_filtered(&bootstrap, SecretStore::new(), filters).await;
        Running { proxy, reached }
    }
}

/// A route by prefix; `more` are further fields, each ended by a comma.
pub(crate) fn route(prefix: &str, cluster: &str, more: &str) -> String {
    format!("{{ {more} match: {{ prefix: {prefix} }}, route: {{ cluster: {cluster} }} }}")
}

impl Running {
    pub(crate) fn reached(&self) -> u32 {
        self.reached.load(Ordering::SeqCst)
    }

    pub(crate) async fn stop(self) {
        self.proxy.data_plane.stop().await;
    }

    /// Sends a POST with this body in these chunks, and trailers if there are any.
    pub(crate) async fn post(
        &self,
        client: Protocol,
        path: &str,
        chunks: &[&'static str],
        trailers: Option<HeaderMap>,
    ) -> Answer {
        let frames = chunks
            .iter()
            .map(|chunk| Frame::data(Bytes::from_static(chunk.as_bytes())));
        let frames: Vec<_> = frames
            .chain(trailers.map(Frame::trailers))
            .map(Ok::<_, Infallible>)
            .collect();
        let body = StreamBody::new(tokio_stream::iter(frames)).boxed();
        self.send(client, Request::post(path), body).await
    }

    /// Sends a GET.
    pub(crate) async fn get(&self, client: Protocol, path: &str) -> Answer {
        let body = http_body_util::Empty::new().boxed();
        self.send(client, Request::get(path), body).await
    }

    pub(crate) async fn send(
        &self,
        client: Protocol,
        request: http::request::Builder,
        body: BoxBody<Bytes, Infallible>,
    ) -> Answer {
        let request = request.header("te", "trailers").header("trailer", "x-t");
        let io = TokioIo::new(self.proxy.connect("in").await);
        let exchange = async {
            let response = match client {
                Protocol::Http1 => {
                    let request = request.header("host", "a").body(body).unwrap();
                    let (mut sender, connection) = http1::handshake(io).await.unwrap();
                    tokio::spawn(connection);
                    sender.send_request(request).await
                }
                Protocol::Http2 => {
                    let mut request = request.body(body).unwrap();
                    let uri = format!("http://a{}", request.uri());
                    *request.uri_mut() = uri.parse().unwrap();
                    let handshake = http2::handshake(TokioExecutor::new(), io);
                    let (mut sender, connection) = handshake.await.unwrap();
                    tokio::spawn(connection);
                    sender.send_request(request).await
                }
            };
            match response {
                Ok(response) => read(response).await,
                // The connection ended before the head was written.
                Err(_) => Answer {
                    cut: true,
                    ..Answer::default()
                },
            }
        };
        tokio::time::timeout(LIMIT, exchange)
            .await
            .expect("an answer")
    }
}

async fn read(response: Response<Incoming>) -> Answer {
    let (head, mut body) = response.into_parts();
    let mut answer = Answer {
        status: head.status.as_u16(),
        headers: head.headers,
        ..Answer::default()
    };
    while let Some(frame) = body.frame().await {
        match frame.map(Frame::into_data) {
            Ok(Ok(data)) => answer.body += std::str::from_utf8(&data).unwrap(),
            Ok(Err(frame)) => answer.trailers = frame.into_trailers().ok(),
            Err(_) => {
                answer.cut = true;
                break;
            }
        }
    }
    answer
}

/// Answers with the request's body and trailers. Its headers tell who it is (`x-upstream`) and what it got: `x-path`,
/// `x-length` (`content-length`, or `-`), `x-coding` (`transfer-encoding`, or `-`), and all headers `x-echo...`. The
/// paths `/fail/...` are answered by 503 the first time.
async fn upstream_server(name: &'static str, reached: Arc<AtomicU32>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let reached = reached.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let count = reached.fetch_add(1, Ordering::SeqCst);
                    async move { Ok::<_, Infallible>(echo(name, count, request).await) }
                });
                let server = auto::Builder::new(TokioExecutor::new());
                // A client that goes away is part of some tests.
                let _ = server.serve_connection(TokioIo::new(socket), service).await;
            });
        }
    });
    address
}

async fn echo(
    name: &'static str,
    count: u32,
    request: Request<Incoming>,
) -> Response<BoxBody<Bytes, Infallible>> {
    let (head, body) = request.into_parts();
    let told = |name: &str| match head.headers.get(name) {
        Some(value) => value.clone(),
        None => HeaderValue::from_static("-"),
    };
    let mut headers = HeaderMap::new();
    headers.insert("x-upstream", HeaderValue::from_static(name));
    let path = HeaderValue::from_str(head.uri.path()).unwrap();
    headers.insert("x-path", path);
    headers.insert("x-length", told("content-length"));
    headers.insert("x-coding", told("transfer-encoding"));
    headers.insert("trailer", HeaderValue::from_static("x-t"));
    for (name, value) in &head.headers {
        if name.as_str().starts_with("x-echo") {
            headers.append(name, value.clone());
        }
    }
    let fails = head.uri.path().starts_with("/fail") && count == 0;
    let Ok(body) = body.collect().await else {
        return Response::new(http_body_util::Empty::new().boxed());
    };
    // Without trailers the length is announced.
    let body = match body.trailers().cloned() {
        None => Full::new(body.to_bytes()).boxed(),
        Some(trailers) => {
            let frames = [Frame::data(body.to_bytes()), Frame::trailers(trailers)];
            let frames = frames.map(Ok::<_, Infallible>);
            StreamBody::new(tokio_stream::iter(frames)).boxed()
        }
    };
    let mut response = Response::new(body);
    *response.headers_mut() = headers;
    if fails {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}
