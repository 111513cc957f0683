//! `meshctl`: see `meshctl --help`.

use std::process::ExitCode;

use clap::Parser;
use meshctl::{cli::Cli, commands, output};

fn main() -> ExitCode {
    let cli = Cli::parse();
    // One thread suffices for one user, and a mesh in the foreground ends with the thread that
    // started it: that must be the main thread.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let result = runtime
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(commands::run(cli)));
    match result {
        Ok(code) => code,
        Err(error) => {
            output::error(&error);
            ExitCode::FAILURE
        }
    }
}
