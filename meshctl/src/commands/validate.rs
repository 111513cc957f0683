//! `meshctl validate`: what the admission webhook would say to these manifests.

use std::{io::Read, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result, ensure};
use mesh_api::diagnostic::Diagnostic;

use crate::output;

/// Arguments of `validate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Files or directories; - is standard input
    #[arg(short, long = "filename", required = true, value_name = "PATH")]
    pub file: Vec<PathBuf>,
}

/// Checks manifests by themselves; fails if one is refused.
pub fn run(args: &Args) -> Result<ExitCode> {
    let found = args
        .file
        .iter()
        .map(|path| check(path))
        .collect::<Result<Vec<_>>>()?
        .concat();
    if output::diagnostics(&found) {
        return Ok(ExitCode::FAILURE);
    }
    output::line("valid")?;
    Ok(ExitCode::SUCCESS)
}

/// What is wrong with the manifests at `path`.
fn check(path: &PathBuf) -> Result<Vec<Diagnostic>> {
    if path.as_os_str() == "-" {
        return Ok(check_text("stdin", &read_stdin()?));
    }
    ensure!(path.exists(), "no file or directory \"{}\"", path.display());
    Ok(galley::check_files(std::slice::from_ref(path)))
}

/// What is wrong with a manifest.
pub fn check_text(file: &str, text: &str) -> Vec<Diagnostic> {
    let (documents, mut found) = galley::manifest::parse(file, text);
    found.extend(galley::check_documents(documents));
    found
}

/// All of standard input.
pub fn read_stdin() -> Result<String> {
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .context("cannot read standard input")?;
    Ok(text)
}
