//! Galley as this process needs it: snapshots for everyone, findings for people.
//!
//! Findings are written to the log once, when they appear, and are all shown under `/debug/diagnostics`.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use galley::{Config, Findings, Galley};
use mesh_api::diagnostic::{Diagnostic, Severity};
use mesh_api::mesh_config::MeshConfig;
use mesh_api::snapshot::Snapshot;
use mesh_runtime::drain;
use mesh_runtime::metrics::Registry;
use mesh_runtime::task::Tasks;
use pilot::debug::page::Pages;
use tokio::sync::watch;

use crate::args::Args;
use crate::cluster::Cluster;

/// All findings of the moment.
pub(crate) type Diagnostics = watch::Receiver<Arc<Findings>>;

/// What galley makes of its source.
pub(crate) struct Configuration {
    /// The mesh as meant.
    pub(crate) snapshots: watch::Receiver<Arc<Snapshot>>,
    /// What there is to say about it.
    pub(crate) diagnostics: Diagnostics,
}

/// Reads the configuration and keeps following it in `tasks`; from a cluster, it also goes back to the
/// objects as their status.
pub(crate) async fn start(
    args: &Args,
    cluster: Option<&Cluster>,
    registry: &mut Registry,
    tasks: &Tasks,
    drain: &drain::Watch,
) -> anyhow::Result<Configuration> {
    let galley = match cluster {
        Some(cluster) => {
            let mesh = MeshConfig {
                root_namespace: cluster.args.namespace.as_str().into(),
                ..MeshConfig::default()
            };
            let source = cluster.source();
            Galley::start_in_cluster(source, mesh, registry, drain.token()).await?
        }
        None => {
            let config = Config {
                config_dirs: args.config_dir.clone(),
                mesh: MeshConfig::default(),
            };
            Galley::start(config, registry, drain.token()).await?
        }
    };
    if let Some(cluster) = cluster {
        let writer = cluster.status_writer(galley.reports);
        tasks.spawn("status", writer.run(drain.token()));
    }
    tasks.spawn("galley", galley.task);
    tasks.spawn("diagnostics", report(galley.diagnostics.clone()));
    Ok(Configuration {
        snapshots: galley.snapshots,
        diagnostics: galley.diagnostics,
    })
}

/// The findings as text, one per line.
pub(crate) fn debug_router(diagnostics: Diagnostics, pages: Pages) -> axum::Router {
    axum::Router::new()
        .route("/debug/diagnostics", get(show))
        .with_state((diagnostics, pages))
}

async fn show(State((diagnostics, pages)): State<(Diagnostics, Pages)>) -> Response {
    let diagnostics = diagnostics.borrow().clone();
    pages.text(move |out| {
        diagnostics
            .iter()
            .try_for_each(|one| writeln!(out, "{one}"))
    })
}

/// Logs each finding when it appears.
async fn report(mut diagnostics: Diagnostics) -> Result<(), Infallible> {
    let mut before = Arc::<Findings>::default();
    loop {
        let current = diagnostics.borrow_and_update().clone();
        current.since(&before).for_each(log);
        before = current;
        if diagnostics.changed().await.is_err() {
            return Ok(());
        }
    }
}

fn log(finding: &Diagnostic) {
    match finding.severity {
        Severity::Error => tracing::error!("{finding}"),
        Severity::Warning => tracing::warn!("{finding}"),
        Severity::Info => tracing::info!("{finding}"),
    }
}
