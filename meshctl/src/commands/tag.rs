//! `meshctl tag`: further names for revisions.

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

use crate::{
    install::{plan::revision, rollout::Means, tag},
    output,
};

/// Arguments of `tag`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Point a tag at a revision; the tag "default" takes over istio-injection=enabled
    Set {
        /// The tag
        #[arg(value_parser = label)]
        tag: String,
        /// The revision
        #[arg(long, value_parser = revision)]
        revision: String,
        /// Move a tag that is there already
        #[arg(long)]
        overwrite: bool,
        #[command(flatten)]
        means: Means,
    },
    /// Show all tags
    List {
        #[command(flatten)]
        means: Means,
    },
    /// Remove a tag
    Remove {
        /// The tag
        tag: String,
        #[command(flatten)]
        means: Means,
    },
}

/// Runs a command.
pub async fn run(args: &Args) -> Result<ExitCode> {
    match &args.command {
        Command::Set {
            tag: name,
            revision,
            overwrite,
            means,
        } => {
            let client = means.cluster.client().await?;
            tag::set(&client, &means.helm(), name, revision, *overwrite).await?;
            output::line(&format!(
                "pods labelled istio.io/rev={name} get the proxy of that revision"
            ))?;
        }
        Command::List { means } => {
            let tags = tag::list(&means.cluster.client().await?).await?;
            let rows = tags.into_iter().map(|tag| vec![tag.name, tag.revision]);
            output::line(&output::table(&["TAG", "REVISION"], rows.collect()))?;
        }
        Command::Remove { tag: name, means } => {
            tag::remove(&means.cluster.client().await?, name).await?;
            output::line(&format!("tag \"{name}\" is gone"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// As a revision, but "default" is a name of its own.
fn label(text: &str) -> Result<String, String> {
    match text {
        "default" => Ok(text.to_owned()),
        "" => Err("a tag has a name".to_owned()),
        _ => revision(text),
    }
}
