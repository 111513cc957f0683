//! Process 1 of the mesh: starts the supervisor, reaps whatever is orphaned, ends with the supervisor.
//!
//! When this process ends, the kernel kills every other process of its namespace, so nothing can stay
//! behind, however the mesh ended.

use std::process::Command;

use rustix::process::{Pid, WaitOptions, wait};

/// Runs the supervisor of the mesh in `state` and returns its exit code.
pub fn run(state: &str) -> Result<i32, Box<dyn std::error::Error>> {
    let supervisor = Command::new(std::env::current_exe()?)
        .args(["supervise", state])
        .spawn()?;
    let supervisor = Pid::from_child(&supervisor);
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == supervisor => {
                return Ok(status.exit_status().unwrap_or(1));
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
