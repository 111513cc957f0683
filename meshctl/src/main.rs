//! The `meshctl` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    meshctl::main()
}
