//! One file for each command: its arguments, and what it does.

pub mod analyze;
mod findings;
pub mod inject;
pub mod install;
pub mod local;
pub mod precheck;
pub mod proxy_config;
pub mod proxy_status;
pub mod tag;
pub mod uninstall;
pub mod upgrade;
pub mod validate;
pub mod verify_install;
pub mod version;

use std::process::ExitCode;

use anyhow::Result;
use clap::CommandFactory;

use crate::{
    cli::{Cli, Command},
    output,
};

/// Runs a command.
pub async fn run(cli: Cli) -> Result<ExitCode> {
    match cli.command {
        Command::Local(args) => local::run(args).await,
        Command::Validate(args) => validate::run(&args),
        Command::Analyze(args) => analyze::run(&args).await,
        Command::Inject(args) => inject::run(&args).await,
        Command::ProxyConfig(args) => proxy_config::run(&args).await,
        Command::ProxyStatus(args) => proxy_status::run(&args).await,
        Command::Install(args) => install::run(&args).await,
        Command::Uninstall(args) => uninstall::run(&args).await,
        Command::Upgrade(args) => upgrade::run(&args).await,
        Command::Tag(args) => tag::run(&args).await,
        Command::Precheck(args) => precheck::run(&args).await,
        Command::VerifyInstall(args) => verify_install::run(&args).await,
        Command::Version => version::run(),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "meshctl", &mut script);
            output::raw(&script)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
