//! Runs the suite and exits with 1 if a case failed.

use std::process::ExitCode;

use clap::Parser;
use e2e::{args::Args, runner};

fn main() -> anyhow::Result<ExitCode> {
    let all_passed = runner::run(&Args::parse())?;
    Ok(match all_passed {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
