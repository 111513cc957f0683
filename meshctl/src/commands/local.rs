//! `meshctl local`: a mesh on this machine.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use local::client::Client;

use crate::cli::MeshName;
use crate::cluster;

/// `local`.
#[derive(Debug, Args)]
pub struct Local {
    /// What to do.
    #[command(subcommand)]
    pub command: LocalCommand,
}

/// Subcommands of `local`.
#[derive(Debug, Subcommand)]
pub enum LocalCommand {
    /// End the mesh and remove everything it made.
    Down(MeshName),
}

/// Runs a subcommand.
///
/// # Errors
/// What went wrong, for people.
pub async fn run(args: Local) -> anyhow::Result<ExitCode> {
    match args.command {
        LocalCommand::Down(mesh) => {
            Client::new(cluster::state(&mesh)).down().await?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
