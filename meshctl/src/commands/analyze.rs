//! `meshctl analyze`: objects together, of files or of the running mesh.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, Result, ensure};

use super::findings;
use crate::{
    cluster::{Access, Cluster},
    output::{self, Format},
};

/// Errors were found (istioctl's exit code).
const FOUND_ERRORS: u8 = 79;

/// Arguments of `analyze`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Files and directories; without any, the running mesh is asked
    paths: Vec<PathBuf>,
    /// Form of the answer
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    access: Access,
}

/// Prints findings; exit code 79 if there are errors among them.
pub async fn run(args: &Args) -> Result<ExitCode> {
    if args.paths.is_empty() {
        return of_mesh(args).await;
    }
    for path in &args.paths {
        ensure!(path.exists(), "no file or directory \"{}\"", path.display());
    }
    let found = galley::analyze(&args.paths);
    findings::print(args.output, &found)?;
    Ok(conclude(
        args,
        findings::has_errors(&found),
        found.is_empty(),
    ))
}

async fn of_mesh(args: &Args) -> Result<ExitCode> {
    let cluster = args.access.open().await?;
    let answers = cluster
        .control_plane("/debug/diagnostics")
        .await
        .context("the control plane cannot be asked")?;
    // Every replica reads everything, so one answer is the whole.
    let text = String::from_utf8_lossy(answers.first().map(AsRef::as_ref).unwrap_or_default());
    let lines: Vec<&str> = text.lines().collect();
    match args.output {
        Format::Table => lines.iter().try_for_each(|line| output::line(line))?,
        other => output::structured(other, &lines)?,
    }
    let errors = lines.iter().any(|line| line.contains(": error["));
    Ok(conclude(args, errors, lines.is_empty()))
}

fn conclude(args: &Args, errors: bool, empty: bool) -> ExitCode {
    if empty && args.output == Format::Table {
        output::note("no findings");
    }
    if errors {
        ExitCode::from(FOUND_ERRORS)
    } else {
        ExitCode::SUCCESS
    }
}
