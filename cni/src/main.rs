//! `weft-cni-agent`: parse arguments, start logging, run until told to stop.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use cni::{app::Agent, args::Args};
use kube::{Client, Config};
use mesh_runtime::{log, signal};

/// Exit code of a failure; misuse of the command line is clap's 2.
const FAILED: u8 = 1;

fn main() -> ExitCode {
    match start(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weft-cni-agent: {error:#}");
            ExitCode::from(FAILED)
        }
    }
}

fn start(args: Args) -> anyhow::Result<()> {
    let log = log::init(&args.log, args.log_format)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .thread_name("weft-cni-agent")
        .build()?;
    runtime.block_on(async {
        // Subscribed before anything starts, so that no early signal is lost.
        let mut signals = signal::Signals::subscribe()?;
        let shutdown = async move {
            let signal = signals.next().await;
            tracing::info!(%signal, "stopping");
        };
        let config = Config::incluster().context("no service account of a pod")?;
        let agent = Agent::start(args, Client::try_from(config)?, log).await?;
        agent.run(shutdown).await
    })
}
