//! What clients do: connections, TLS, requests that are malformed, too large or given up.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::fixture::Fixture;
use super::tls::shake_hands;
use crate::harness::exchange;
use crate::http2_frames::{Client, indexed, literal};
use crate::pki::Authority;

pub(crate) async fn listeners(fixture: &mut Fixture) {
    let proxy = &fixture.proxy;
    // Plain text where only TLS has a chain, and silence where the first bytes are waited for.
    let refused = exchange(proxy.connect("inspected").await, b"GET / HTTP/1.1\r\n").await;
    assert_eq!(refused.unwrap_or_default(), b"");
    let mut silent = proxy.connect("inspected").await;
    assert_eq!(silent.read(&mut [0]).await.unwrap_or(0), 0);

    let (mesh, strangers) = (&fixture.mesh, Authority::new("strangers"));
    let known = mesh.workload("spiffe://mesh/known");
    let unknown = mesh.workload("spiffe://mesh/unknown");
    let stranger = strangers.workload("spiffe://mesh/known");
    for leaf in [Some(&known), Some(&unknown), Some(&stranger), None] {
        shake_hands(proxy.connect("named").await, &mesh.root, leaf).await;
    }
    shake_hands(proxy.connect("pinned").await, &mesh.root, Some(&known)).await;
    let garbage = exchange(proxy.connect("named").await, &[b'x'; 100]).await;
    assert!(garbage.is_ok_and(|alert| alert.len() < 100));
    let tls = [
        "ssl_handshake",
        "ssl_connection_error",
        "ssl_fail_verify_no_cert",
        "ssl_fail_verify_error",
        "ssl_fail_verify_san",
        "ssl_fail_verify_cert_hash",
    ];
    fixture
        .until(
            &tls.map(|name| format!("envoy_listener_{name}"))
                .each_ref()
                .map(String::as_str),
        )
        .await;
}

pub(crate) async fn tcp(fixture: &mut Fixture) {
    let proxy = &fixture.proxy;
    let nothing = exchange(proxy.connect("nowhere").await, b"x").await;
    assert_eq!(nothing.unwrap_or_default(), b"");
    let refused = exchange(proxy.connect("guarded").await, b"x").await;
    assert_eq!(refused.unwrap_or_default(), b"");
    // Bytes both ways, then silence until the proxy has enough of it.
    let mut stream = proxy.connect("tcp").await;
    stream.write_all(b"x").await.unwrap();
    let mut echo = Vec::new();
    stream.read_to_end(&mut echo).await.unwrap();
    assert_eq!(echo, b"x");
    fixture
        .until(&[
            "istio_tcp_connections_closed_total",
            "envoy_tcp_idle_timeout",
            "envoy_tcp_rbac_allowed",
            "envoy_tcp_rbac_denied",
        ])
        .await;
}

pub(crate) async fn http(fixture: &mut Fixture) {
    let proxy = &fixture.proxy;
    let malformed = exchange(proxy.connect("http").await, b"GET\r\n\r\n").await;
    assert!(malformed.unwrap().starts_with(b"HTTP/1.1 400 "));
    let large = format!(
        "GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n",
        "x".repeat(61 * 1024)
    );
    let refused = exchange(proxy.connect("http").await, large.as_bytes()).await;
    assert!(refused.unwrap().starts_with(b"HTTP/1.1 431 "));
    let mut idle = proxy.connect("idle").await;
    assert_eq!(idle.read(&mut [0]).await.unwrap(), 0);
    let stream = proxy.connect("http").await;
    let (status, _) = super::client::request(stream, "/", "unknown").await;
    assert_eq!(status, 404);
    assert_eq!(fixture.get("/missing/").await, 503);
    assert_eq!(fixture.get("/denied/").await, 403);
    fixture
        .until(&[
            "envoy_http_downstream_cx_idle_timeout",
            "envoy_http_downstream_cx_protocol_error",
        ])
        .await;
}

/// Requests over HTTP/2 that name one large header again and again, and are then given up.
pub(crate) async fn http2(fixture: &mut Fixture) {
    let mut client = Client::new(fixture.proxy.connect("http").await).await;
    let pseudo = [
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/http1/hold"),
        (":authority", "a"),
    ];
    let head: Vec<u8> = pseudo
        .iter()
        .flat_map(|(name, value)| literal(name, value))
        .collect();
    let first = [&head[..], &indexed("x", &"a".repeat(4000))].concat();
    client.headers(1, &first, true).await;
    let again = [&head[..], &[0xbe; 15]].concat();
    for stream in 1..160 {
        client.headers(2 * stream + 1, &again, true).await;
    }
    fixture
        .until(&[
            "envoy_http_downstream_rq_header_memory_overflow",
            "envoy_http_downstream_rq_header_bytes",
        ])
        .await;
    drop(client);
    fixture.until(&["envoy_http_downstream_rq_rx_reset"]).await;
}
