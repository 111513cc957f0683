//! `meshctl validate`: each object alone, as the admission webhook sees it.

use std::{
    io::Read,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, ensure};
use mesh_api::diagnostic::Diagnostic;

use super::findings;
use crate::output::{self, Format};

/// Arguments of `validate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Files and directories; - is standard input
    #[arg(short, long = "filename", required = true, num_args = 1.., value_name = "PATH")]
    file: Vec<PathBuf>,
    /// Form of the answer
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Prints what is wrong; exit code 1 if an object would be refused.
pub fn run(args: &Args) -> Result<ExitCode> {
    let found = args
        .file
        .iter()
        .map(|path| check(path))
        .collect::<Result<Vec<_>>>()?
        .concat();
    findings::print(args.output, &found)?;
    if findings::has_errors(&found) {
        return Ok(ExitCode::FAILURE);
    }
    if args.output == Format::Table {
        output::note("valid");
    }
    Ok(ExitCode::SUCCESS)
}

fn check(path: &Path) -> Result<Vec<Diagnostic>> {
    if path == Path::new("-") {
        return Ok(check_text("stdin", &read(path)?));
    }
    ensure!(path.exists(), "no file or directory \"{}\"", path.display());
    Ok(galley::check_files(&[path.to_owned()]))
}

/// What is wrong with a manifest.
pub(super) fn check_text(file: &str, text: &str) -> Vec<Diagnostic> {
    let (documents, mut found) = galley::manifest::parse(file, text);
    found.extend(galley::check_documents(documents));
    found
}

/// A file's text; `-` is standard input.
pub(super) fn read(path: &Path) -> Result<String> {
    if path != Path::new("-") {
        return std::fs::read_to_string(path)
            .with_context(|| format!("cannot read \"{}\"", path.display()));
    }
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .context("cannot read standard input")?;
    Ok(text)
}
