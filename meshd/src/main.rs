//! `meshd`: parse arguments, start logging, run until told to stop, drain.

use std::process::ExitCode;

use clap::Parser;
use mesh_runtime::trace::{Exporter, Service};
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
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("meshd")
        .build()?;
    runtime.block_on(async {
        let (exporter, spans) = match &args.otlp_endpoint {
            Some(endpoint) => {
                let (exporter, spans) = Exporter::start(endpoint, service(&args))?;
                (Some(exporter), Some(spans))
            }
            None => (None, None),
        };
        let log = log::init_with(&args.log, args.log_format, spans)?;
        // Subscribed before anything starts, so that no early signal is lost.
        let mut signals = signal::Signals::subscribe()?;
        let shutdown = async move {
            let signal = signals.next().await;
            tracing::info!(%signal, "stopping");
        };
        let outcome = app::run(args, log, shutdown).await;
        if let Some(exporter) = exporter {
            exporter.shut_down().await;
        }
        outcome
    })
}

/// Who our own spans are of.
fn service(args: &Args) -> Service<'_> {
    Service {
        name: "meshd",
        instance: &args.cluster.pod_name,
    }
}
