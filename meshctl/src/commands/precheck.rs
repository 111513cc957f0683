//! `meshctl precheck`: whether a cluster is fit for the mesh.

use std::process::ExitCode;

use anyhow::Result;

use crate::{
    install::{
        precheck::{self, Verdict},
        rollout::{Means, line},
    },
    output,
};

/// Arguments of `precheck`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    means: Means,
}

/// Prints what was looked at; exit code 1 if something is in the way.
pub async fn run(args: &Args) -> Result<ExitCode> {
    let client = args.means.cluster.client().await?;
    let namespace = &args.means.cluster.istio_namespace;
    let checks = precheck::run(&client, &args.means.helm(), namespace).await?;
    for check in &checks {
        output::line(&line(check))?;
    }
    let is_fit = checks.iter().all(|check| check.verdict != Verdict::Bad);
    Ok(match is_fit {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
