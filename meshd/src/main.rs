//! `meshd`: parse arguments, start logging, run until told to stop, drain.

use std::process::ExitCode;

use clap::Parser;
use mesh_runtime::{log, signal};
use meshd::app;
use meshd::args::Args;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Exit code of a start that failed; misuse of the command line is clap's 2.
const FAILED: u8 = 1;

fn main() -> ExitCode {
    let args = Args::parse();
    match start(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("meshd: {error:#}");
            ExitCode::from(FAILED)
        }
    }
}

fn start(args: Args) -> anyhow::Result<()> {
    let log = log::init(&args.log, args.log_format)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("meshd")
        .build()?;
    runtime.block_on(async {
        // Subscribed before anything starts, so that no early signal is lost.
        let mut signals = signal::Signals::subscribe()?;
        let shutdown = async move {
            let signal = signals.next().await;
            tracing::info!(%signal, "stopping");
        };
        app::run(args, log, shutdown).await
    })
}
