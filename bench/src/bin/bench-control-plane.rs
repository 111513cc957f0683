//! Measures the control plane against a real API server and prints the table of budgets.

use std::process::ExitCode;

use bench::{
    control_plane::{self, args::Args},
    namespace, process,
};
use clap::Parser;

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    if !args.host_network && namespace::enter()? {
        return Ok(ExitCode::SUCCESS);
    }
    process::pin(process::LOAD_CORE)?;
    let (report, outcome) = control_plane::run(&args);
    report.print(args.json)?;
    outcome?;
    Ok(match args.check && !report.is_met() {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}
