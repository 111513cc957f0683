//! The admin interface, with Envoy's paths.
//!
//! For people and for `meshctl` on the machine itself: it shows everything, keys excepted, so the bootstrap
//! keeps it on loopback. Nothing here runs on a worker.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::routing::{get, post};
use mesh_runtime::log::LogHandle;
use mesh_runtime::readiness::Readiness;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use xds::envoy::bootstrap::Bootstrap;

use crate::executor::InForce;
use crate::listener::balance::Balance;
use crate::telemetry::Registry;
use crate::telemetry::log_sink::LogSinks;
use crate::tls::secret_store::SecretStore;
use crate::worker::Stage;
use proxy_xds::status::XdsStatus;

mod certs;
mod clusters;
mod config_dump;
mod drain;
mod listeners;
mod logging;
mod ready;
mod server_info;
pub mod stats;

/// What the pages show and change.
#[derive(Debug, Clone)]
pub struct Admin {
    /// What the process was started with.
    pub bootstrap: Arc<Bootstrap>,
    /// What is in force.
    pub in_force: InForce,
    /// What is waited for.
    pub readiness: Readiness,
    /// Rejections and connection of the xDS client.
    pub status: Arc<XdsStatus>,
    /// Counters.
    pub registry: Arc<Registry>,
    /// Certificates.
    pub secrets: SecretStore,
    /// The log filter.
    pub log: LogHandle,
    /// Access log files.
    pub logs: LogSinks,
    /// Connections per worker.
    pub balance: Arc<Balance>,
    /// Serving, draining, stopped.
    pub stage: watch::Sender<Stage>,
    /// Number of workers.
    pub workers: usize,
    /// Ends the process.
    pub quit: CancellationToken,
    /// When the process started.
    pub start: Instant,
}

/// All counters in Prometheus' text format.
pub fn render_metrics(registry: &Registry) -> String {
    crate::telemetry::prometheus::render(registry, &[])
}

const HELP: &str = "\
admin commands are:
  /certs: certificates in use
  /clusters: clusters and their endpoints (?format=json)
  /config_dump: the configuration in force (?resource=, ?mask=, ?name_regex=, ?include_eds)
  /drain_listeners (POST): stop accepting from outside, ask connections to finish
  /help: this text
  /listeners: listeners and their addresses (?format=json)
  /logging (POST): the log filter (?level=)
  /quitquitquit (POST): end the process
  /ready: 200 when configured, with the reason otherwise
  /reopen_logs (POST): open access log files again
  /server_info: version, state, command line
  /stats: counters (?filter=, ?usedonly, ?format=prometheus|json)
  /stats/prometheus: counters in Prometheus' format
";

/// All pages.
pub fn router(admin: Admin) -> Router {
    Router::new()
        .route("/", get(|| async { HELP }))
        .route("/help", get(|| async { HELP }))
        .route("/ready", get(ready::ready))
        .route("/server_info", get(server_info::server_info))
        .route("/config_dump", get(config_dump::config_dump))
        .route("/clusters", get(clusters::clusters))
        .route("/listeners", get(listeners::listeners))
        .route("/certs", get(certs::certs))
        .route("/stats", get(stats::stats))
        .route("/stats/prometheus", get(stats::prometheus_page))
        .route("/logging", post(logging::logging))
        .route("/reopen_logs", post(logging::reopen))
        .route("/drain_listeners", post(drain::drain_listeners))
        .route("/quitquitquit", post(drain::quit))
        .with_state(admin)
}
