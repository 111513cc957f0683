//! The `weft-proxy` binary: parse the arguments, build, run, drain.

use std::process::ExitCode;

/// Returns memory of a past configuration to the system, which glibc's allocator keeps in its arenas.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    proxy::app::main()
}
