//! `weft-proxy wait`: blocks until the proxy of this pod is ready, for a container's `postStart` hook.

use std::time::Duration;

use anyhow::{Context, bail};
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::args::Wait;

/// Asks until the answer is 200 or the time is over.
pub(super) async fn run(args: &Wait) -> anyhow::Result<()> {
    let url: http::Uri = args.url.parse().context("--url")?;
    let period = Duration::from_millis(args.period_millis);
    let limit = Duration::from_secs(args.timeout_seconds);
    match tokio::time::timeout(limit, until_ready(&url, period)).await {
        Ok(()) => Ok(()),
        Err(_) => bail!("{url} was not ready within {} s", args.timeout_seconds),
    }
}

/// Returns when a page answers with success.
pub(super) async fn until_ready(url: &http::Uri, period: Duration) {
    let client: Client<HttpConnector, Empty<bytes::Bytes>> =
        Client::builder(TokioExecutor::new()).build_http();
    loop {
        let answer =
            tokio::time::timeout(period.max(Duration::from_secs(1)), client.get(url.clone()));
        if let Ok(Ok(answer)) = answer.await
            && answer.status().is_success()
        {
            return;
        }
        tokio::time::sleep(period).await;
    }
}
