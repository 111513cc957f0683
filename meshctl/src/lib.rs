//! The command line of the mesh.
//!
//! [`cli`] says what can be asked, one module of [`commands`] answers each question, [`cluster`] reaches a running
//! mesh, [`output`] prints. Everything that knows something about meshes is in other crates.
//!
//! This crate does not decide anything that the control plane or a proxy would decide: it asks them, or it calls
//! the same code.

pub mod cli;

pub mod cluster;
pub mod commands;
pub mod output;

use std::process::ExitCode;

use clap::Parser;

/// Runs the command line. Exit codes: 0, 1 for a failure, 2 for misuse, 79 for findings of `analyze` (as
/// istioctl).
pub fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return failure(&error.into()),
    };
    match runtime.block_on(commands::run(cli)) {
        Ok(code) => code,
        Err(error) => failure(&error),
    }
}

fn failure(error: &anyhow::Error) -> ExitCode {
    output::error(error);
    ExitCode::FAILURE
}
