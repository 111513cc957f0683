//! `meshctl version`.

use std::process::ExitCode;

use anyhow::Result;

use crate::output;

/// Prints the version.
pub fn run() -> Result<ExitCode> {
    output::line(mesh_runtime::build_info::describe().trim_end())?;
    Ok(ExitCode::SUCCESS)
}
