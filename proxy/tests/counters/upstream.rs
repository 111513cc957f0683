//! What upstreams do: responses of every kind, none at all, and connections that end or are not to be had.

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::fixture::Fixture;

pub(crate) async fn responses(fixture: &mut Fixture) {
    for (path, status) in [
        ("/http1/upgrade", 101),
        ("/http1/200", 200),
        ("/http2/200", 200),
        ("/http1/304", 304),
        ("/http1/404", 404),
        ("/http1/500", 500),
        ("/sick/200", 200),
        ("/single/200", 200),
        ("/short/200", 200),
    ] {
        assert_eq!(fixture.get(path).await, status, "{path}");
    }
    let idle = "envoy_cluster_upstream_cx_idle_timeout";
    fixture.until(&[idle]).await;
}

pub(crate) async fn failures(fixture: &mut Fixture) {
    for (path, status) in [
        ("/dead/", 503),
        ("/silent/", 503),
        ("/timeout/hold", 504),
        ("/attempt/hold", 504),
        ("/retry/flaky", 200),
        ("/once/503", 503),
    ] {
        assert_eq!(fixture.get(path).await, status, "{path}");
    }
    fixture.get("/http2/reset").await;
    fixture
        .until(&[
            "envoy_cluster_upstream_rq_rx_reset",
            "envoy_cluster_upstream_rq_tx_reset",
            "envoy_cluster_upstream_rq_retry_success",
        ])
        .await;
}

/// One connection and one place in the queue for several requests.
pub(crate) async fn limits(fixture: &mut Fixture) {
    let running = fixture.begin("/narrow/hold").await;
    fixture.until(&["envoy_cluster_upstream_rq_active"]).await;
    // Each worker may have one connection whatever the limit says, so some more are needed.
    let mut waiting = Vec::new();
    for _ in 0..8 {
        waiting.push(fixture.begin("/narrow/hold").await);
    }
    fixture
        .until(&[
            "envoy_cluster_upstream_cx_overflow",
            "envoy_cluster_upstream_rq_pending_overflow",
            "envoy_cluster_upstream_rq_pending_active",
            "envoy_http_downstream_rq_active",
        ])
        .await;
    drop(running);
}

pub(crate) async fn grpc(fixture: &mut Fixture) {
    let io = TokioIo::new(fixture.proxy.connect("http").await);
    let (mut client, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    let connection = tokio::spawn(connection);
    let message = Bytes::from_static(b"\0\0\0\0\x01x");
    let request = Request::post("http://a/http2/grpc")
        .header("content-type", "application/grpc")
        .body(Full::new(message.clone()))
        .unwrap();
    let response = client.send_request(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.to_bytes(), message);
    connection.abort();
}
