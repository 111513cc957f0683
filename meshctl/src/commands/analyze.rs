//! `meshctl analyze`: objects together, of files or of the running mesh.

use std::process::ExitCode;

use anyhow::Context;

use super::findings;
use crate::cli::Analyze;
use crate::cluster::Cluster;
use crate::output::{self, Format};

/// Errors were found (istioctl's exit code).
const FOUND_ERRORS: u8 = 79;

/// Prints findings; exit code 79 if there are errors among them.
///
/// # Errors
/// The mesh cannot be asked.
pub async fn run(args: Analyze) -> anyhow::Result<ExitCode> {
    if args.paths.is_empty() {
        return of_mesh(&args).await;
    }
    let found = galley::analyze(&args.paths);
    findings::print(args.output, &found)?;
    if findings::has_errors(&found) {
        return Ok(ExitCode::from(FOUND_ERRORS));
    }
    if found.is_empty() && args.output == Format::Table {
        output::note("no findings");
    }
    Ok(ExitCode::SUCCESS)
}

async fn of_mesh(args: &Analyze) -> anyhow::Result<ExitCode> {
    let cluster = Cluster::open(&args.mesh);
    let text = cluster
        .control_plane("/debug/diagnostics")
        .await
        .context("the control plane cannot be asked")?;
    let lines: Vec<&str> = text.lines().collect();
    match args.output {
        Format::Table => lines.iter().for_each(output::line),
        other => output::document(other, &lines)?,
    }
    let errors = lines.iter().any(|line| line.contains(": error["));
    if lines.is_empty() && args.output == Format::Table {
        output::note("no findings");
    }
    Ok(if errors {
        ExitCode::from(FOUND_ERRORS)
    } else {
        ExitCode::SUCCESS
    })
}
