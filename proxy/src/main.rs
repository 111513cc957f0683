//! The `weft-proxy` binary: parse the arguments, build, run, drain.

use std::process::ExitCode;

fn main() -> ExitCode {
    proxy::app::main()
}
