//! Limits of connections: how much is held, and for how long an end is put off.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use http::{Response, StatusCode};
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::http2_frames::{Client, Event, literal};
use super::upstream::{proxy, proxy_of_listener, text, upstream};
use crate::harness::LIMIT;

/// REFUSED_STREAM.
const REFUSED: u32 = 7;

#[tokio::test(flavor = "multi_thread")]
async fn a_body_beyond_the_listeners_limit_is_sent_once() {
    for (limit, attempts) in [("per_connection_buffer_limit_bytes: 999,", 1), ("", 2)] {
        let count = Arc::new(AtomicU32::new(0));
        let counted = count.clone();
        let server = upstream(move |request| {
            counted.fetch_add(1, Ordering::SeqCst);
            async move {
                request.into_body().collect().await.unwrap();
                let mut response = Response::new(text(""));
                *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                response
            }
        })
        .await;
        let retry = "cluster: up, retry_policy: { retry_on: 5xx, num_retries: 1 }";
        let proxy = proxy_of_listener(limit, retry, &[("up", server, "")]).await;
        let mut client = proxy.connect("in").await;
        let head =
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\nconnection: close\r\n\r\n";
        let request = [head.as_bytes(), &[0; 1000]].concat();
        client.write_all(&request).await.unwrap();
        let mut response = String::new();
        client.read_to_string(&mut response).await.unwrap();
        assert!(response.starts_with("HTTP/1.1 503 "), "{response}");
        assert_eq!(count.load(Ordering::SeqCst), attempts, "{limit}");
        proxy.data_plane.stop().await;
    }
}

/// The client of these tests never answers a PING, so that nothing but the time says that it knows of the end.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_ends_takes_new_streams_for_the_drain_timeout() {
    let server = upstream(|request| async move {
        if request.uri().path() == "/hold" {
            std::future::pending::<()>().await;
        }
        Response::new(text(""))
    })
    .await;
    let limits =
        "drain_timeout: 0.5s, common_http_protocol_options: { max_connection_duration: 0.1s },";
    let proxy = proxy("cluster: up", limits, &[("up", server, "")]).await;
    let mut client = Client::new(proxy.connect("in").await).await;
    let start = Instant::now();
    client.headers(1, &head("/hold"), true).await;
    let exchange = async {
        assert_eq!(client.next().await, Some((0, Event::GoAway(0))));
        let mut answered = 0;
        for stream in (3..).step_by(2) {
            client.headers(stream, &head("/"), true).await;
            match client.next().await {
                Some((answer, Event::Status(200))) if answer == stream => answered += 1,
                Some((answer, Event::Reset(REFUSED))) if answer == stream => return answered,
                other => panic!("{other:?}"),
            }
        }
        unreachable!("streams without end")
    };
    let answered = tokio::time::timeout(LIMIT, exchange)
        .await
        .expect("a refusal");
    assert!(answered > 0, "streams after the first GOAWAY are served");
    assert!(
        start.elapsed() >= Duration::from_millis(600),
        "but not for longer"
    );
    proxy.data_plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_ends_is_closed_after_the_drain_timeout() {
    let server = upstream(|_| async { Response::new(text("")) }).await;
    let limits = "drain_timeout: 0.1s, common_http_protocol_options: { idle_timeout: 0.1s },";
    let proxy = proxy("cluster: up", limits, &[("up", server, "")]).await;
    let mut client = Client::new(proxy.connect("in").await).await;
    let ended = async {
        assert_eq!(client.next().await, Some((0, Event::GoAway(0))));
        while let Some((_, event)) = client.next().await {
            if event == Event::Closed {
                return;
            }
        }
    };
    tokio::time::timeout(LIMIT, ended).await.expect("an end");
    proxy.data_plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_client_may_write_for_the_delayed_close_timeout() {
    let server = upstream(|_| async { Response::new(text("")) }).await;
    let limits = "delayed_close_timeout: 1.5s,";
    let proxy = proxy("cluster: up", limits, &[("up", server, "")]).await;
    let mut client = proxy.connect("in").await;
    client.write_all(b"GET\r\n\r\n").await.unwrap();
    let mut refusal = String::new();
    client.read_to_string(&mut refusal).await.unwrap();
    assert!(refusal.starts_with("HTTP/1.1 400 "), "{refusal}");
    let start = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    while client.write_all(b"x").await.is_ok() {
        ticks.tick().await;
    }
    // The default is a second.
    assert!(start.elapsed() >= Duration::from_millis(1400));
    proxy.data_plane.stop().await;
}

fn head(path: &str) -> Vec<u8> {
    let pseudo = [
        (":method", "GET"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "a"),
    ];
    pseudo
        .iter()
        .flat_map(|(name, value)| literal(name, value))
        .collect()
}
