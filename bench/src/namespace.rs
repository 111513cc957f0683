//! A network namespace of its own, so that nothing else is on the loopback and its ports are all free.

use std::{
    env,
    os::unix::process::ExitStatusExt,
    process::{Command, exit},
};

use anyhow::Context;

const INSIDE: &str = "WEFT_BENCH_INSIDE";
/// Brings the loopback up, makes enough ports for new-connection runs, then becomes the benchmark.
const SETUP: &str = "ip link set lo up && \
    { echo '1024 65000' > /proc/sys/net/ipv4/ip_local_port_range || true; } 2>/dev/null; exec \"$0\" \"$@\"";

/// Runs this program again in a new namespace and returns whether that happened.
///
/// Without permission or without `unshare` and `ip` the host's loopback has to do.
pub fn enter() -> anyhow::Result<bool> {
    if env::var_os(INSIDE).is_some() || !can_enter() {
        return Ok(false);
    }
    let program = env::current_exe().context("cannot find this program")?;
    let status = Command::new("unshare")
        .args(["--map-root-user", "--net", "sh", "-c", SETUP])
        .arg(program)
        .args(env::args_os().skip(1))
        .env(INSIDE, "1")
        .status()
        .context("cannot run unshare")?;
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(true),
        (code, signal) => exit(code.unwrap_or(128 + signal.unwrap_or(0))),
    }
}

fn can_enter() -> bool {
    Command::new("unshare")
        .args(["--map-root-user", "--net", "ip", "link", "set", "lo", "up"])
        .output()
        .is_ok_and(|output| output.status.success())
}
