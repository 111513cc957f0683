//! Galley as this process needs it: snapshots for everyone, findings for people.
//!
//! Findings are written to the log once, when they appear, and are all shown under `/debug/diagnostics`.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::State;
use axum::routing::get;
use galley::{Config, Galley};
use mesh_api::diagnostic::{Diagnostic, Severity};
use mesh_api::mesh_config::MeshConfig;
use mesh_api::snapshot::Snapshot;
use mesh_runtime::drain;
use mesh_runtime::metrics::Registry;
use mesh_runtime::task::Tasks;
use tokio::sync::watch;

use crate::args::Args;

/// All findings of the moment.
pub(crate) type Diagnostics = watch::Receiver<Arc<Vec<Diagnostic>>>;

/// Reads the configuration and keeps following it in `tasks`.
pub(crate) async fn start(
    args: &Args,
    registry: &mut Registry,
    tasks: &Tasks,
    drain: &drain::Watch,
) -> anyhow::Result<(watch::Receiver<Arc<Snapshot>>, Diagnostics)> {
    let config = Config {
        config_dirs: args.config_dir.clone(),
        mesh: MeshConfig::default(),
    };
    let galley = Galley::start(config, registry, drain.token()).await?;
    tasks.spawn("galley", galley.task);
    tasks.spawn("diagnostics", report(galley.diagnostics.clone()));
    Ok((galley.snapshots, galley.diagnostics))
}

/// The findings as text, one per line.
pub(crate) fn debug_router(diagnostics: Diagnostics) -> axum::Router {
    axum::Router::new()
        .route("/debug/diagnostics", get(show))
        .with_state(diagnostics)
}

async fn show(State(diagnostics): State<Diagnostics>) -> String {
    let diagnostics = diagnostics.borrow().clone();
    diagnostics.iter().map(|one| format!("{one}\n")).collect()
}

/// Logs each finding when it appears.
async fn report(mut diagnostics: Diagnostics) -> Result<(), Infallible> {
    let mut known = HashSet::new();
    loop {
        let current = diagnostics.borrow_and_update().clone();
        let lines = current.iter().map(|one| (one.severity, one.to_string()));
        let lines: HashSet<(Severity, String)> = lines.collect();
        for (severity, line) in lines.difference(&known) {
            match severity {
                Severity::Error => tracing::error!("{line}"),
                Severity::Warning => tracing::warn!("{line}"),
                Severity::Info => tracing::info!("{line}"),
            }
        }
        known = lines;
        if diagnostics.changed().await.is_err() {
            return Ok(());
        }
    }
}
