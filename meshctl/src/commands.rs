//! One module for each subcommand.

use std::process::ExitCode;

use clap::CommandFactory;

use crate::cli::{Cli, Command};

pub mod local;

pub mod proxy_config;
pub mod proxy_status;

pub mod analyze;
mod findings;
pub mod inject;
pub mod validate;

/// Runs a subcommand.
///
/// # Errors
/// What went wrong, for people.
pub async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Local(local) => local::run(local).await,
        Command::ProxyStatus(args) => proxy_status::run(args).await,
        Command::ProxyConfig(args) => proxy_config::run(args).await,
        Command::Analyze(args) => analyze::run(args).await,
        Command::Validate(args) => validate::run(&args),
        Command::Inject(args) => inject::run(&args),
        Command::Completion(args) => {
            let mut command = Cli::command();
            clap_complete::generate(args.shell, &mut command, "meshctl", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
    }
}
