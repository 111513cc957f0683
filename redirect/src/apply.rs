//! Applies rules in the current network namespace, in one transaction, or fails with the reason.
//!
//! nft is preferred: one transaction covers both address families. Without it, iptables-restore and
//! ip6tables-restore are used. Nothing is ever applied half: a caller that sees an error must not
//! let traffic flow, so the binary exits non-zero and the pod does not start.

use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use crate::{
    Capture, CaptureError, Ruleset, iptables, nft,
    rules::{Family, PolicyRouting},
};

/// Exists where the network namespace knows IPv6: that of the thread, which may have entered another one.
const IPV6: &str = "/proc/thread-self/net/if_inet6";

/// Which program loads the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// `nft`
    Nft,
    /// `iptables-restore` and `ip6tables-restore`
    Iptables,
}

/// Why capture could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The parameters contradict each other.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// Neither tool is installed.
    #[error(
        "neither nft nor iptables-restore is in PATH: install the package nftables or iptables"
    )]
    NoTool,
    /// A program could not be started.
    #[error("cannot run \"{program}\"")]
    Start {
        /// The program.
        program: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// A program refused its input.
    #[error("\"{program}\" failed with {status}: {message}{}", hint(.message))]
    Refused {
        /// The program.
        program: &'static str,
        /// Its exit status.
        status: std::process::ExitStatus,
        /// Its standard error.
        message: String,
    },
    /// The proxy's user cannot be told from the application's here.
    #[error(
        "user id {0} does not exist in this user namespace: map it, or exempt the proxy by --socket-mark"
    )]
    UnmappedUser(u32),
    /// The user mapping could not be read.
    #[error("cannot read \"{path}\"")]
    IdMap {
        /// The file.
        path: &'static str,
        /// Why.
        source: std::io::Error,
    },
}

fn hint(message: &str) -> &'static str {
    if message.contains("not permitted") || message.contains("Permission denied") {
        " (capture needs CAP_NET_ADMIN in the network namespace)"
    } else {
        ""
    }
}

/// What was applied, or would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The tool.
    pub tool: Tool,
    /// Each program with its input, in order.
    pub scripts: Vec<(&'static str, String)>,
}

/// Computes the rules for `capture` and applies them unless `dry_run`.
pub fn apply(capture: &Capture, tool: Option<Tool>, dry_run: bool) -> Result<Applied, ApplyError> {
    capture.validate()?;
    let capture = exemptions_that_exist(capture.clone())?;
    let ruleset = Ruleset::new(&capture);
    let tool = choose(tool)?;
    let scripts = match tool {
        Tool::Nft => vec![("nft", nft::render(&ruleset))],
        Tool::Iptables => restore_inputs(
            |family, existing| iptables::render(&ruleset, family, existing),
            dry_run,
        )?,
    };
    if !dry_run {
        run_scripts(&scripts)?;
        if let Some(routing) = ruleset.routing {
            apply_routing(routing)?;
        }
    }
    Ok(Applied { tool, scripts })
}

/// Removes rules of ours, whichever tool brought them.
pub fn cleanup(
    tool: Option<Tool>,
    routing: PolicyRouting,
    dry_run: bool,
) -> Result<Applied, ApplyError> {
    let tool = choose(tool)?;
    let scripts = match tool {
        Tool::Nft => vec![("nft", nft::render_cleanup())],
        Tool::Iptables => {
            restore_inputs(|_, existing| iptables::render_cleanup(existing), dry_run)?
        }
    };
    if !dry_run {
        run_scripts(&scripts)?;
        remove_routing(routing);
    }
    Ok(Applied { tool, scripts })
}

/// Drops identities that cannot occur in this user namespace, if the mark stands in for them.
///
/// The kernel would refuse (iptables) or never match (nft) a user id without mapping; the second
/// would send the proxy's own connections back to it for ever.
fn exemptions_that_exist(mut capture: Capture) -> Result<Capture, ApplyError> {
    let uids = IdMap::read("/proc/self/uid_map")?;
    let gids = IdMap::read("/proc/self/gid_map")?;
    if capture.socket_mark.is_some() {
        capture.proxy_uids.retain(|id| uids.contains(*id));
    } else if let Some(missing) = capture.proxy_uids.iter().find(|id| !uids.contains(**id)) {
        return Err(ApplyError::UnmappedUser(*missing));
    }
    capture.proxy_gids.retain(|id| gids.contains(*id));
    Ok(capture)
}

/// Ids that exist in a user namespace.
struct IdMap(Vec<(u32, u32)>);

impl IdMap {
    fn read(path: &'static str) -> Result<Self, ApplyError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ApplyError::IdMap { path, source })?;
        Ok(Self::parse(&text))
    }

    fn parse(text: &str) -> Self {
        let entry = |line: &str| {
            let mut columns = line.split_whitespace().map(|word| word.parse::<u32>().ok());
            Some((columns.next()??, columns.nth(1)??))
        };
        Self(text.lines().filter_map(entry).collect())
    }

    fn contains(&self, id: u32) -> bool {
        self.0
            .iter()
            .any(|(first, count)| id >= *first && id - first < *count)
    }
}

fn choose(wanted: Option<Tool>) -> Result<Tool, ApplyError> {
    match wanted {
        Some(tool) => Ok(tool),
        None if in_path("nft") => Ok(Tool::Nft),
        None if in_path("iptables-restore") => Ok(Tool::Iptables),
        None => Err(ApplyError::NoTool),
    }
}

fn in_path(program: &str) -> bool {
    let path = search_path();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// PATH with the directories of system tools, which a user's PATH often lacks.
fn search_path() -> std::ffi::OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/sbin");
    path
}

fn restore_inputs(
    render: impl Fn(Family, &str) -> String,
    dry_run: bool,
) -> Result<Vec<(&'static str, String)>, ApplyError> {
    let mut families = vec![(Family::V4, "iptables-save", "iptables-restore")];
    // A kernel without IPv6 has nothing to capture there, and ip6tables would fail.
    if Path::new(IPV6).exists() {
        families.push((Family::V6, "ip6tables-save", "ip6tables-restore"));
    }
    families
        .into_iter()
        .map(|(family, save, restore)| {
            let existing = if dry_run {
                String::new()
            } else {
                run(save, &[], "")?
            };
            Ok((restore, render(family, &existing)))
        })
        .collect()
}

fn run_scripts(scripts: &[(&'static str, String)]) -> Result<(), ApplyError> {
    for (program, script) in scripts.iter().filter(|(_, script)| !script.is_empty()) {
        let args: &[&str] = if *program == "nft" {
            &["-f", "-"]
        } else {
            &["--noflush", "--wait", "30"]
        };
        run(program, args, script)?;
    }
    Ok(())
}

fn apply_routing(routing: PolicyRouting) -> Result<(), ApplyError> {
    remove_routing(routing);
    let (mark, table) = (routing.mark.to_string(), routing.table.to_string());
    for (family, everything) in routed_families() {
        run(
            "ip",
            &[family, "rule", "add", "fwmark", &mark, "lookup", &table],
            "",
        )?;
        run(
            "ip",
            &[
                family, "route", "replace", "local", everything, "dev", "lo", "table", &table,
            ],
            "",
        )?;
    }
    Ok(())
}

/// Absence is not an error: the rule may never have been there.
fn remove_routing(routing: PolicyRouting) {
    let (mark, table) = (routing.mark.to_string(), routing.table.to_string());
    for (family, _) in routed_families() {
        let _ = run(
            "ip",
            &[family, "rule", "del", "fwmark", &mark, "lookup", &table],
            "",
        );
        let _ = run("ip", &[family, "route", "flush", "table", &table], "");
    }
}

fn routed_families() -> impl Iterator<Item = (&'static str, &'static str)> {
    let v6 = Path::new(IPV6).exists().then_some(("-6", "::/0"));
    std::iter::once(("-4", "0.0.0.0/0")).chain(v6)
}

fn run(program: &'static str, args: &[&str], input: &str) -> Result<String, ApplyError> {
    let start = |source| ApplyError::Start { program, source };
    let mut child = Command::new(program)
        .args(args)
        .env("PATH", search_path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(start)?;
    // A program that fails early closes its input; its exit status tells the reason.
    let _ = child
        .stdin
        .take()
        .expect("stdin is piped")
        .write_all(input.as_bytes());
    let output = child.wait_with_output().map_err(start)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(ApplyError::Refused {
        program,
        status: output.status,
        message,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_outside_the_mapped_ranges_do_not_exist() {
        let map =
            IdMap::parse("         0       1000          1\n      1000     100000      65536\n");
        let found: Vec<_> = [0, 1, 999, 1000, 1337, 66535, 66536]
            .into_iter()
            .filter(|id| map.contains(*id))
            .collect();
        assert_eq!(found, [0, 1000, 1337, 66535]);
    }
}
