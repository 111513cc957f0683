//! Runs the chosen scenarios and prints the comparison.

use anyhow::Context;
use bench::{args::Args, namespace, process, report::Report, scenarios};
use clap::Parser;

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if !args.host_network && namespace::enter()? {
        return Ok(());
    }
    process::pin(process::LOAD_CORE).context("cannot pin the load generator")?;
    let report = Report::new(scenarios::run(&args)?);
    report.print(args.json)
}
