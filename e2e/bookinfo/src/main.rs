//! Starts the one bookinfo service that the command line names.

use bookinfo::{args::Args, serve};
use clap::Parser;

// One thread is enough for a sample service and keeps a mesh of many pods small.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    serve::run(args.port, args.router()).await
}
