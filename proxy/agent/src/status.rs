//! What the kubelet and Prometheus ask: port 15020 (readiness, merged metrics, probes of the application), and for
//! our own data plane also 15021 (readiness) and 15090 (its metrics). Envoy has the latter two as listeners.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use mesh_runtime::caller;
use mesh_runtime::readiness::Readiness;
use tokio_util::sync::CancellationToken;

use super::metrics::{self, Application, Source};
use super::probes::Probes;

/// Readiness of the data plane (Istio's health port).
pub const HEALTH_PORT: u16 = 15021;
/// The data plane's own metrics.
pub const METRICS_PORT: u16 = 15090;

/// What the status port answers from.
#[derive(Debug)]
pub struct Status {
    /// The data plane's metrics.
    pub metrics: Source,
    /// The application's metrics, if it has any.
    pub application: Option<Application>,
    /// Probes of the application.
    pub probes: Probes,
    /// What the proxy still waits for.
    pub readiness: Readiness,
    /// Cancelled by `POST /quitquitquit` from this machine.
    pub quit: CancellationToken,
}

impl Status {
    /// The pages of the status port.
    pub fn status_router(self: &Arc<Self>) -> Router {
        Router::new()
            .route("/healthz/ready", get(ready))
            .route("/stats/prometheus", get(merged))
            .route("/metrics", get(merged))
            .route("/quitquitquit", post(quit))
            .fallback(get(probe))
            .with_state(self.clone())
    }

    /// The pages of the health port.
    pub fn health_router(self: &Arc<Self>) -> Router {
        Router::new()
            .route("/healthz/ready", get(ready))
            .with_state(self.clone())
    }

    /// The pages of the metrics port.
    pub fn metrics_router(self: &Arc<Self>) -> Router {
        Router::new()
            .route("/stats/prometheus", get(own))
            .with_state(self.clone())
    }
}

/// Serves pages on a port of every address until cancelled.
pub async fn serve(port: u16, router: Router, shutdown: CancellationToken) -> std::io::Result<()> {
    // Dual stack where the kernel has IPv6, else IPv4 alone.
    let listener = match tokio::net::TcpListener::bind((IpAddr::from([0_u16; 8]), port)).await {
        Ok(listener) => listener,
        Err(_) => tokio::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await?,
    };
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service)
        .with_graceful_shutdown(shutdown.cancelled_owned())
        .await
}

async fn ready(State(status): State<Arc<Status>>) -> Response {
    if status.readiness.is_ready() {
        return StatusCode::OK.into_response();
    }
    let pending = format!(
        "not ready, waiting for: {}\n",
        status.readiness.pending().join(", ")
    );
    (StatusCode::SERVICE_UNAVAILABLE, pending).into_response()
}

async fn own(State(status): State<Arc<Status>>) -> Response {
    exposition(status.metrics.render().await)
}

async fn merged(State(status): State<Arc<Status>>) -> Response {
    let application = async {
        match &status.application {
            Some(application) => application.scrape().await,
            None => String::new(),
        }
    };
    let (proxy, application) = tokio::join!(status.metrics.render(), application);
    exposition(metrics::merge(&proxy, &application))
}

fn exposition(text: String) -> Response {
    const TEXT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(header::CONTENT_TYPE, TEXT)], text).into_response()
}

async fn probe(State(status): State<Arc<Status>>, uri: Uri) -> Response {
    match status.probes.run(uri.path()).await {
        Some(answer) => answer.into_response(),
        None => (StatusCode::NOT_FOUND, "no probe under this path\n").into_response(),
    }
}

async fn quit(State(status): State<Arc<Status>>, request: Request) -> Response {
    if !caller::is_local(&request) {
        return (StatusCode::FORBIDDEN, "only from this machine\n").into_response();
    }
    status.quit.cancel();
    (StatusCode::OK, "OK\n").into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    fn status(readiness: &Readiness) -> Arc<Status> {
        Arc::new(Status {
            metrics: Source::Own(Arc::new(|| "proxy 1\n# EOF\n".to_owned())),
            application: None,
            probes: Probes::default(),
            readiness: readiness.clone(),
            quit: CancellationToken::new(),
        })
    }

    async fn ask(router: Router, path: &str) -> (u16, String) {
        let request = http::Request::get(path)
            .body(axum::body::Body::empty())
            .expect("a request");
        let answer = router.oneshot(request).await.expect("infallible");
        let status = answer.status().as_u16();
        let body = answer
            .into_body()
            .collect()
            .await
            .expect("a body")
            .to_bytes();
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    #[tokio::test]
    async fn readiness_names_what_is_missing() {
        let readiness = Readiness::new();
        let guard = readiness.guard("workload certificate");
        let status = status(&readiness);
        let expected = (
            503,
            "not ready, waiting for: workload certificate\n".to_owned(),
        );
        assert_eq!(
            ask(status.health_router(), "/healthz/ready").await,
            expected
        );
        drop(guard);
        assert_eq!(
            ask(status.status_router(), "/healthz/ready").await,
            (200, String::new())
        );
    }

    #[tokio::test]
    async fn only_this_machine_ends_the_process() {
        for (peer, origin, expected) in [
            ("10.0.0.1:1", None, 403),
            ("127.0.0.6:1", None, 403),
            ("127.0.0.1:1", Some("http://evil.example"), 403),
            ("[::ffff:127.0.0.1]:1", None, 200),
        ] {
            let status = status(&Readiness::new());
            let mut request = http::Request::post("/quitquitquit").header("host", "localhost");
            if let Some(origin) = origin {
                request = request.header("origin", origin);
            }
            let mut request = request.body(axum::body::Body::empty()).expect("a request");
            let peer: SocketAddr = peer.parse().expect("an address");
            request
                .extensions_mut()
                .insert(axum::extract::ConnectInfo(peer));
            let answer = status.status_router().oneshot(request).await;
            let answer = answer.expect("infallible").status().as_u16();
            assert_eq!(answer, expected, "{peer} {origin:?}");
            assert_eq!(status.quit.is_cancelled(), expected == 200);
        }
    }

    #[tokio::test]
    async fn metrics_and_unknown_probes() {
        let status = status(&Readiness::new());
        assert_eq!(
            ask(status.status_router(), "/stats/prometheus").await,
            (200, "proxy 1\n".to_owned())
        );
        let missing = (404, "no probe under this path\n".to_owned());
        assert_eq!(
            ask(status.status_router(), "/app-health/x/livez").await,
            missing
        );
    }
}
