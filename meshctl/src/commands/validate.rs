//! `meshctl validate`: each object alone, as the admission webhook sees it.

use std::process::ExitCode;

use super::findings;
use crate::cli::Validate;
use crate::output::{self, Format};

/// Prints what is wrong; exit code 1 if an object would be refused.
///
/// # Errors
/// The findings cannot be printed.
pub fn run(args: &Validate) -> anyhow::Result<ExitCode> {
    let found = galley::check_files(&args.files);
    findings::print(args.output, &found)?;
    if findings::has_errors(&found) {
        return Ok(ExitCode::FAILURE);
    }
    if args.output == Format::Table {
        output::note("valid");
    }
    Ok(ExitCode::SUCCESS)
}
