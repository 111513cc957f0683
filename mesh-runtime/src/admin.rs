//! The common part of every program's HTTP port: `/ready`, `/metrics`, `/version` for everybody, and
//! `/logging`, which changes something and is therefore a router of its own: programs put it behind what
//! they know about callers.
//!
//! Programs merge their own routes (`/debug/*`, `/config_dump`) into this router and serve it with
//! [`serve`].

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use serde::Deserialize;
use tokio::net::TcpListener;

use crate::build_info;
use crate::caller;
use crate::drain;
use crate::log::LogHandle;
use crate::metrics::{self, Registry};
use crate::readiness::Readiness;

/// What the common routes show.
#[derive(Clone)]
pub struct Admin {
    /// Answers `/ready`.
    pub readiness: Readiness,
    /// Answers `/metrics`; every component has registered by now.
    pub registry: Arc<Registry>,
}

/// The common routes that everybody may ask.
pub fn router(admin: Admin) -> axum::Router {
    let registry = admin.registry.clone();
    axum::Router::new()
        .route("/ready", get(ready))
        .route("/version", get(|| async { build_info::describe() }))
        .with_state(admin)
        .merge(metrics::router(registry))
}

/// `/logging`: shows and changes the log filter. Not for everybody.
pub fn logging_router(log: LogHandle) -> axum::Router {
    axum::Router::new()
        .route(
            "/logging",
            get(show_filter).post(set_filter).put(set_filter),
        )
        .with_state(log)
}

/// The same for programs on this machine alone.
pub fn local_logging_router(log: LogHandle) -> axum::Router {
    logging_router(log).layer(axum::middleware::from_fn(caller::only_local))
}

/// Serves `router` until the drain begins, then finishes the requests in flight.
pub async fn serve(
    listener: TcpListener,
    router: axum::Router,
    drain: drain::Watch,
) -> std::io::Result<()> {
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service)
        .with_graceful_shutdown(async move { drain.signaled().await })
        .await
}

async fn ready(State(admin): State<Admin>) -> (StatusCode, String) {
    let pending = admin.readiness.pending();
    if pending.is_empty() {
        return (StatusCode::OK, "ready\n".to_owned());
    }
    let text = format!("not ready, waiting for: {}\n", pending.join(", "));
    (StatusCode::SERVICE_UNAVAILABLE, text)
}

async fn show_filter(State(log): State<LogHandle>) -> String {
    format!("{}\n", log.filter())
}

#[derive(Deserialize)]
struct SetFilter {
    level: String,
}

async fn set_filter(
    State(log): State<LogHandle>,
    Query(wanted): Query<SetFilter>,
) -> (StatusCode, String) {
    match log.set_filter(&wanted.level) {
        Ok(()) => (StatusCode::OK, format!("{}\n", log.filter())),
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    async fn request(address: std::net::SocketAddr, method: &str, target: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!("{method} {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn answers_readiness_with_reasons_metrics_and_log_level() {
        let readiness = Readiness::new();
        let guard = readiness.guard("first configuration");
        let admin = Admin {
            readiness,
            registry: Arc::new(Registry::default()),
        };
        let pages = router(admin).merge(local_logging_router(LogHandle::detached()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (signal, watch) = drain::channel();
        let server = tokio::spawn(serve(listener, pages, watch));

        let answer = request(address, "GET", "/ready").await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.ends_with("not ready, waiting for: first configuration\n"));
        drop(guard);
        let answer = request(address, "GET", "/ready").await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        let answer = request(address, "GET", "/metrics").await;
        assert!(answer.contains(metrics::CONTENT_TYPE) && answer.ends_with("# EOF\n"));
        let answer = request(address, "POST", "/logging?level=a=b=c").await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        let elsewhere = "/logging?level=trace HTTP/1.1\r\norigin: http://evil.example\r\nx:";
        let answer = request(address, "POST", elsewhere).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");

        signal.start();
        server.await.unwrap().unwrap();
    }
}
