//! Metrics for Prometheus: the data plane's own, and merged with the application's.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;

/// Longest answer that is read from an application or from Envoy, in bytes.
const SCRAPE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How long the application may take; Prometheus itself waits 10 s.
const SCRAPE_TIMEOUT: Duration = Duration::from_secs(8);

/// Ports of the mesh's own in every pod (Istio's `istioReservedPorts`). What they show is either merged
/// already, in a circle, or for the pod alone: an annotation must not carry it to everybody who scrapes.
const RESERVED_PORTS: [u16; 9] = [
    15000, 15001, 15004, 15006, 15008, 15020, 15021, 15053, 15090,
];

/// Renders the data plane's own metrics.
pub type Render = Arc<dyn Fn() -> String + Send + Sync>;

/// Where metrics come from.
#[derive(Clone)]
pub enum Source {
    /// This process.
    Own(Render),
    /// Envoy's admin port on loopback.
    Envoy(u16),
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Own(_) => f.write_str("Own"),
            Self::Envoy(port) => f.debug_tuple("Envoy").field(port).finish(),
        }
    }
}

/// Where the application's metrics are (`prometheus.io/` annotations, kept by the injector).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Application {
    port: u16,
    path: String,
}

impl Application {
    /// Reads `ISTIO_PROMETHEUS_ANNOTATIONS`: `{"scrape": "true", "port": "8080", "path": "/metrics"}`. `None` if
    /// the application has no metrics.
    pub fn parse(json: Option<&str>) -> Result<Option<Self>, serde_json::Error> {
        #[derive(Deserialize)]
        struct Annotations {
            scrape: Option<String>,
            port: Option<String>,
            path: Option<String>,
        }
        let Some(json) = json else { return Ok(None) };
        let annotations: Annotations = serde_json::from_str(json)?;
        let port = annotations.port.and_then(|port| port.parse().ok());
        let wanted = annotations.scrape.as_deref() == Some("true");
        let path = annotations
            .path
            .filter(|path| !path.is_empty())
            .unwrap_or_else(|| "/metrics".to_owned());
        let own = port.filter(|port| RESERVED_PORTS.contains(port));
        if let Some(port) = own.filter(|_| wanted) {
            tracing::warn!(
                port,
                "prometheus.io/port is a port of the mesh: only its own metrics are shown"
            );
            return Ok(None);
        }
        Ok(port.filter(|_| wanted).map(|port| Self { port, path }))
    }

    /// Whether the metrics are at one of these ports.
    pub fn is_at(&self, ports: &[u16]) -> bool {
        ports.contains(&self.port)
    }

    /// The application's metrics; empty with a log line if it does not answer, so that the proxy's still count.
    pub async fn scrape(&self) -> String {
        scrape(self.port, &self.path).await.unwrap_or_else(|error| {
            tracing::debug!(%error, port = self.port, "the application's metrics cannot be read");
            String::new()
        })
    }
}

impl Source {
    /// The data plane's metrics in Prometheus' text format.
    pub async fn render(&self) -> String {
        match self {
            Self::Own(render) => render(),
            Self::Envoy(port) => scrape(*port, "/stats/prometheus").await.unwrap_or_default(),
        }
    }
}

/// Puts two expositions behind each other. `# EOF` of OpenMetrics would end the text early.
pub fn merge(proxy: &str, application: &str) -> String {
    let lines = proxy
        .lines()
        .chain(application.lines())
        .filter(|line| *line != "# EOF");
    let mut merged = String::with_capacity(proxy.len() + application.len() + 1);
    for line in lines {
        merged.push_str(line);
        merged.push('\n');
    }
    merged
}

async fn scrape(port: u16, path: &str) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let path = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    };
    let uri = format!("http://{}{path}", SocketAddr::from(([127, 0, 0, 1], port))).parse()?;
    let answer = tokio::time::timeout(SCRAPE_TIMEOUT, client.get(uri)).await??;
    if !answer.status().is_success() {
        return Err(format!("status {}", answer.status()).into());
    }
    let body = Limited::new(answer.into_body(), SCRAPE_BYTES_MAX).collect();
    let body = tokio::time::timeout(SCRAPE_TIMEOUT, body)
        .await??
        .to_bytes();
    Ok(String::from_utf8_lossy(&body).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_say_where_the_application_is() {
        let parse = |json: &str| Application::parse(Some(json)).expect("JSON");
        let found = parse(r#"{"scrape":"true","path":"/m","port":"9080"}"#);
        assert_eq!(
            found,
            Some(Application {
                port: 9080,
                path: "/m".into()
            })
        );
        assert_eq!(parse(r#"{"scrape":"false","port":"9080"}"#), None);
        assert_eq!(parse(r#"{"scrape":"true"}"#), None);
        for port in RESERVED_PORTS {
            let json = format!(r#"{{"scrape":"true","path":"/config_dump","port":"{port}"}}"#);
            assert_eq!(parse(&json), None, "{port}");
        }
    }

    #[test]
    fn merging_drops_the_end_marks() {
        assert_eq!(merge("a 1\n# EOF\n", "b 2\n# EOF\n"), "a 1\nb 2\n");
    }
}
