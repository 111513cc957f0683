//! Assembly: arguments to running workers.

use std::process::ExitCode;

/// The whole program. Exit codes: 0 after a drain, 1 for a failed start, 2 for misuse.
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
