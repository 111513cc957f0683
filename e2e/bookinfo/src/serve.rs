//! Listening and ending: the part of every service that is not its routes.

use std::{future::Future, io, net::Ipv4Addr, net::Ipv6Addr, time::Duration};

use anyhow::Context;
use axum::Router;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    time::sleep,
};

/// For how long new requests are taken after the signal to end, as Kubernetes wants it of applications: only then does
/// everybody know that this is no endpoint any more.
const LAST_REQUESTS: Duration = Duration::from_secs(3);
/// How long requests in flight may take after that.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves `router` on `port` until shortly after SIGTERM or SIGINT, then finishes the requests in flight.
pub async fn run(port: u16, router: Router) -> anyhow::Result<()> {
    let listener = listen(port)
        .await
        .with_context(|| format!("cannot listen on port {port}"))?;
    let (stopping, stopped) = tokio::sync::oneshot::channel();
    let end = end_signal().context("cannot watch signals")?;
    let server = axum::serve(listener, router).with_graceful_shutdown(async move {
        end.await;
        sleep(LAST_REQUESTS).await;
        let _ = stopping.send(());
    });
    tokio::select! {
        served = server.into_future() => served.context("cannot serve"),
        () = drained(stopped) => Ok(()),
    }
}

/// Both address families where the kernel has them, as the original services do.
async fn listen(port: u16) -> io::Result<TcpListener> {
    match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await,
    }
}

fn end_signal() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Resolves when the drain that follows `stopped` has taken too long.
async fn drained(stopped: tokio::sync::oneshot::Receiver<()>) {
    let _ = stopped.await;
    sleep(DRAIN_TIMEOUT).await;
}
