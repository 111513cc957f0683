//! The process that holds a pod's namespaces: builds the file system, then waits to be told to end.

use std::{
    io::{BufRead, Read, Write},
    path::Path,
};

use crate::{network::sysctl, rootfs};

/// Word on standard output that tells the supervisor that containers can start.
pub const READY: &str = "ready";

/// Runs in fresh mount, network and UTS namespaces: reads a plan (one line of JSON) from standard
/// input, enters its file system, says so, and ends when standard input closes.
pub fn run() -> Result<(), Box<dyn std::error::Error>> {
    let mut input = std::io::stdin().lock();
    let mut line = String::new();
    input.read_line(&mut line)?;
    let plan: rootfs::RootfsPlan = serde_json::from_str(&line)?;
    set_up_namespace()?;
    set_hostname(&plan.hostname);
    rootfs::enter(&plan)?;
    std::env::set_current_dir(Path::new("/"))?;
    writeln!(std::io::stdout(), "{READY}")?;
    std::io::stdout().flush()?;
    // The supervisor keeps the other end open; its death is the pod's end.
    let mut rest = [0; 16];
    while input.read(&mut rest)? > 0 {}
    Ok(())
}

/// Cosmetic: programs that matter read `/etc/hostname` or `HOSTNAME`. Writing the kernel setting is not
/// allowed in a user namespace, the system call that `hostname` makes is.
fn set_hostname(name: &str) {
    let _ = crate::process::tool_now("hostname")
        .args(["--", name])
        .status();
}

fn set_up_namespace() -> Result<(), Box<dyn std::error::Error>> {
    // Containers run without privileges, and may still listen on port 80, as in Kubernetes.
    sysctl("net/ipv4/ip_unprivileged_port_start", "0")?;
    sysctl("net/ipv4/conf/all/rp_filter", "0")?;
    sysctl("net/ipv4/conf/default/rp_filter", "0")?;
    Ok(())
}
