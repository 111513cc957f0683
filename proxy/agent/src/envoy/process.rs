//! The Envoy process: started with the bootstrap, told to drain before it is ended.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

/// How long Envoy may take to leave after the drain.
const EXIT_GRACE: Duration = Duration::from_secs(5);

/// How to start Envoy.
#[derive(Debug, Clone)]
pub struct Envoy {
    /// The program.
    pub program: PathBuf,
    /// Worker threads; 0 lets Envoy decide.
    pub concurrency: u32,
    /// Its admin port.
    pub admin_port: u16,
    /// How long connections may finish before it ends.
    pub drain: Duration,
    /// How long connections of a removed listener may finish.
    pub listener_drain: Duration,
}

impl Envoy {
    /// Runs Envoy until it ends by itself or `shutdown` is cancelled; then drains and ends it.
    pub async fn run(
        &self,
        bootstrap: &Path,
        shutdown: CancellationToken,
    ) -> std::io::Result<ExitStatus> {
        let mut child = self.command(bootstrap).spawn()?;
        tokio::select! {
            status = child.wait() => status,
            () = shutdown.cancelled() => self.end(&mut child).await,
        }
    }

    fn command(&self, bootstrap: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg("-c")
            .arg(bootstrap)
            .args(["--disable-hot-restart", "--log-level", "warning"]);
        command.args(["--drain-strategy", "immediate"]);
        command
            .arg("--drain-time-s")
            .arg(self.listener_drain.as_secs().to_string());
        if self.concurrency > 0 {
            command
                .arg("--concurrency")
                .arg(self.concurrency.to_string());
        }
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    async fn end(&self, child: &mut Child) -> std::io::Result<ExitStatus> {
        self.post("/drain_listeners?graceful").await;
        if let Ok(status) = tokio::time::timeout(self.drain, child.wait()).await {
            return status;
        }
        self.post("/quitquitquit").await;
        if let Ok(status) = tokio::time::timeout(EXIT_GRACE, child.wait()).await {
            return status;
        }
        child.kill().await?;
        child.wait().await
    }

    /// Tells Envoy's admin port; if it does not listen any more there is nothing to tell.
    async fn post(&self, path: &str) {
        let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
        let uri = format!("http://127.0.0.1:{}{path}", self.admin_port);
        if let Ok(request) = Request::post(uri).body(Empty::new()) {
            let _ = tokio::time::timeout(Duration::from_secs(1), client.request(request)).await;
        }
    }
}
