//! Assembly: arguments to running workers.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use mesh_runtime::log::{self, LogHandle};
use mesh_runtime::signal::Signals;
use tokio::runtime::Builder;

use crate::agent::settings::Role;
use crate::args::{Args, Command, Run};
use crate::bootstrap;

mod ads_channel;
pub mod data_plane;
mod sidecar;
mod wait;

use data_plane::{DataPlane, DrainTimes, Options};

/// How long connections get after SIGTERM unless the configuration says otherwise, as in Istio.
pub const TERMINATION_DRAIN: Duration = Duration::from_secs(5);

/// The whole program. Exit codes: 0 after a drain, 1 for a failed start, 2 for misuse.
pub fn main() -> ExitCode {
    let args = Args::parse();
    let started = log::init(&args.log_level, args.log_format);
    let result = match started {
        Ok(log) => run(args, log),
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args, log: LogHandle) -> anyhow::Result<()> {
    // The control thread: xDS, certificates, admin, status. Traffic never runs here.
    let control = Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("control")
        .enable_all()
        .build()
        .context("cannot start the control thread")?;
    control.block_on(async {
        match args.command {
            Command::Run(run) => run_bootstrap(run, log).await,
            Command::Sidecar(agent) => sidecar::run(Role::Sidecar, agent, log).await,
            Command::Router(agent) => sidecar::run(Role::Router, agent, log).await,
            Command::Wait(wait) => wait::run(&wait).await,
        }
    })
}

async fn run_bootstrap(args: Run, log: LogHandle) -> anyhow::Result<()> {
    let mut signals = Signals::subscribe()?;
    let bootstrap = bootstrap::read(&args.config_path)
        .with_context(|| format!("bootstrap {}", args.config_path.display()))?;
    let options = Options::new(&args.data_plane, log);
    let quit = options.quit.clone();
    let mut data_plane = DataPlane::start(bootstrap, options).await?;
    let limit = args.data_plane.termination_drain_s;
    // Who runs a proxy alone, takes it out of service first.
    let times = DrainTimes {
        accept: Duration::ZERO,
        limit: limit.map_or(TERMINATION_DRAIN, Duration::from_secs),
    };
    tokio::select! {
        signal = signals.next() => tracing::info!(%signal, "draining"),
        () = quit.cancelled() => tracing::info!("asked to quit"),
        failure = data_plane.failure() => return Err(failure.into()),
    }
    tokio::select! {
        () = data_plane.drain(times) => {}
        // A second signal means: now.
        _ = signals.next() => {}
    }
    data_plane.stop().await;
    Ok(())
}
