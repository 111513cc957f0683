//! An upstream that does what a test says, and a proxy in front of it.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use proxy::telemetry::stats::HttpCells;
use tokio::net::TcpListener;

use crate::harness::{Proxy, bootstrap, cluster, listener};

pub(crate) type Body = BoxBody<Bytes, Infallible>;

/// A body at hand.
pub(crate) fn text(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).boxed()
}

/// A server for HTTP/1 and HTTP/2 that answers by `answer`.
pub(crate) async fn upstream<A, F>(answer: A) -> SocketAddr
where
    A: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let answering = answer(request);
                    async move { Ok::<_, Infallible>(answering.await) }
                });
                let mut server = auto::Builder::new(TokioExecutor::new());
                // More than the proxy lets pass, with what it adds.
                server.http1().max_headers(200);
                // A client that goes away is part of some tests.
                let _ = server
                    .serve_connection_with_upgrades(TokioIo::new(socket), service)
                    .await;
            });
        }
    });
    address
}

/// Cluster options for HTTP/2 upstream.
pub(crate) const HTTP2: &str = "typed_extension_protocol_options: { \
    envoy.extensions.upstreams.http.v3.HttpProtocolOptions: { \
    \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, \
    explicit_http_config: { http2_protocol_options: {} } } },";

/// A proxy with listener `in`, whose one route has the action fields `action`; `more` are further fields of
/// the connection manager. Clusters are (name, address, further fields).
pub(crate) async fn proxy(
    action: &str,
    more: &str,
    clusters: &[(&str, SocketAddr, &str)],
) -> Proxy {
    start("", action, "", more, clusters).await
}

/// The same; `edits` are further fields of the route, each ended by a comma.
pub(crate) async fn proxy_with_edits(
    action: &str,
    edits: &str,
    clusters: &[(&str, SocketAddr, &str)],
) -> Proxy {
    start("", action, edits, "", clusters).await
}

/// The same; `fields` are further fields of the listener, each ended by a comma.
pub(crate) async fn proxy_of_listener(
    fields: &str,
    action: &str,
    clusters: &[(&str, SocketAddr, &str)],
) -> Proxy {
    start(fields, action, "", "", clusters).await
}

async fn start(
    fields: &str,
    action: &str,
    edits: &str,
    more: &str,
    clusters: &[(&str, SocketAddr, &str)],
) -> Proxy {
    let manager = format!(
        "{{ filters: [{{ name: http, typed_config: {{ \
           \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager, \
           stat_prefix: http, {more} \
           http_filters: [{{ name: router, typed_config: {{ \
             \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }} }}], \
           route_config: {{ name: r, virtual_hosts: [{{ name: v, domains: [\"*\"], routes: [{{ \
             {edits} match: {{ prefix: / }}, route: {{ {action} }} }}] }}] }} }} }}] }}"
    );
    let clusters: Vec<String> = clusters
        .iter()
        .map(|(name, address, more)| cluster(name, *address, more))
        .collect();
    Proxy::start(&bootstrap(&[listener("in", fields, &[manager])], &clusters)).await
}

/// A counter or gauge of the proxy's connection managers.
pub(crate) fn counter(proxy: &Proxy, name: &str) -> u64 {
    let mut fields = HttpCells::FIELDS.iter();
    let place = fields.position(|(field, _)| *field == name);
    let place = place.expect("a counter of that name");
    let sums = proxy.data_plane.registry.http.sums();
    sums.iter().map(|(_, values)| values[place]).sum()
}
