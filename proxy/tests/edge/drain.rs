//! The end of the process.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use proxy::app::data_plane::DrainTimes;

use super::harness::{Proxy, bootstrap, cluster, echo, listener, tcp_proxy};

fn tcp(name: &str, direction: &str) -> String {
    let chain = format!("{{ filters: [{}] }}", tcp_proxy("up", ""));
    listener(name, &format!("traffic_direction: {direction},"), &[chain])
}

fn times(accept: Duration, limit: Duration) -> DrainTimes {
    DrainTimes { accept, limit }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_waits_for_connections_and_then_ends_at_once() {
    let upstream = echo("").await;
    let proxy = Proxy::start(&bootstrap(
        &[tcp("in", "INBOUND"), tcp("out", "OUTBOUND")],
        &[cluster("up", upstream, "")],
    ))
    .await;
    let (inbound, outbound) = (proxy.address("in"), proxy.address("out"));
    let mut running = proxy.connect("in").await;
    running.write_all(b"a").await.unwrap();
    running.read_exact(&mut [0; 1]).await.unwrap();

    let long = Duration::from_secs(60);
    let started = Instant::now();
    let drain = proxy.data_plane.drain(times(Duration::ZERO, long));
    let finish = async {
        // New connections from outside are refused as soon as the workers know.
        while TcpStream::connect(inbound).await.is_ok() {
            tokio::task::yield_now().await;
        }
        // The application may still call out, and the running connection goes on.
        drop(TcpStream::connect(outbound).await.unwrap());
        running.write_all(b"b").await.unwrap();
        running.read_exact(&mut [0; 1]).await.unwrap();
        drop(running);
    };
    tokio::join!(drain, finish);
    assert!(
        started.elapsed() < long,
        "the drain did not notice the last connection"
    );
    proxy.data_plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_outlive_the_drain_are_cut() {
    let upstream = echo("").await;
    let text = bootstrap(&[tcp("in", "INBOUND")], &[cluster("up", upstream, "")]);
    let proxy = Proxy::start(&text).await;
    let mut running = proxy.connect("in").await;
    running.write_all(b"a").await.unwrap();
    running.read_exact(&mut [0; 1]).await.unwrap();
    let short = Duration::from_millis(100);
    proxy.data_plane.drain(times(short, short)).await;
    proxy.data_plane.stop().await;
    assert_eq!(running.read(&mut [0; 1]).await.unwrap_or(0), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_know_of_the_drain_yet_is_still_served() {
    let upstream = echo("").await;
    let text = bootstrap(&[tcp("in", "INBOUND")], &[cluster("up", upstream, "")]);
    let proxy = Proxy::start(&text).await;
    let address = proxy.address("in");
    let accept = Duration::from_millis(300);
    let started = Instant::now();
    let drain = proxy
        .data_plane
        .drain(times(accept, Duration::from_secs(60)));
    let late = async {
        // Each connection that is accepted is served, until one is refused.
        while let Ok(mut late) = TcpStream::connect(address).await {
            late.write_all(b"a").await.unwrap();
            if late.read_exact(&mut [0; 1]).await.is_err() {
                break;
            }
        }
        started.elapsed()
    };
    let ((), refused) = tokio::join!(drain, late);
    assert!(refused >= accept, "refused after {refused:?}");
    proxy.data_plane.stop().await;
}
