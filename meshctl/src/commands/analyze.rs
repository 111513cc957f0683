//! `meshctl analyze`: what is wrong with objects together, in files or in a running mesh.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, Result, ensure};
use local::{options::Options, state::StateDir};

use crate::{
    cluster::{DEFAULT_NAME, NAME_VARIABLE},
    output,
};

/// Arguments of `analyze`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Files or directories; without any, the objects of the running local mesh
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Files or directories
    #[arg(short, long = "filename", value_name = "PATH")]
    file: Vec<PathBuf>,
    /// Name of the running mesh
    #[arg(long, env = NAME_VARIABLE, default_value = DEFAULT_NAME)]
    name: String,
}

/// Analyses; fails if there is an error.
pub fn run(args: &Args) -> Result<ExitCode> {
    let mut paths: Vec<_> = args.paths.iter().chain(&args.file).cloned().collect();
    if paths.is_empty() {
        paths = running(&StateDir::default_for(&args.name))?;
    }
    for path in &paths {
        ensure!(path.exists(), "no file or directory \"{}\"", path.display());
    }
    let found = galley::analyze(&paths);
    if output::diagnostics(&found) {
        return Ok(ExitCode::FAILURE);
    }
    if found.is_empty() {
        output::line("no findings")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The directories that the control plane of a running mesh reads.
fn running(state: &StateDir) -> Result<Vec<PathBuf>> {
    let text = std::fs::read(state.options())
        .with_context(|| format!("no mesh is running in \"{}\"", state.root().display()))?;
    let options: Options =
        serde_json::from_slice(&text).context("the mesh's options are damaged")?;
    Ok(options
        .dir
        .into_iter()
        .chain([state.applied(), state.generated()])
        .collect())
}
