//! The check that capture is in force, in a network namespace with and without rules.

use std::io::Write;
use std::process::{Command, Output};

use rstest::rstest;

/// Runs `script` in a namespace of its own; `$weft` is the program.
fn inside(script: &str) -> Output {
    let root = rustix::process::getuid().is_root();
    let mut command = Command::new("unshare");
    command.arg("--net");
    if !root {
        // The one user of such a namespace cannot be the proxy's.
        command
            .arg("--map-root-user")
            .env("WEFT_SOCKET_MARK", "4919");
    }
    command
        .args(["sh", "-ec", &format!("ip link set lo up; {script}")])
        .env("weft", env!("CARGO_BIN_EXE_weft-redirect"))
        .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
        .output()
        .expect("unshare is installed")
}

#[rstest]
#[case::defaults("")]
#[case::nothing_captured("-b '' -i '' -c lo -o 15002")]
#[case::tproxy("-m TPROXY")]
#[case::another_port("-z 25006")]
fn passes_with_rules(#[case] flags: &str, #[values("nft", "iptables")] tool: &str) {
    let check = format!("\"$weft\" {flags} --run-validation --skip-rule-apply");
    let output = inside(&format!(
        "\"$weft\" --tool {tool} {flags}; {check}; {check}"
    ));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("capture rules are in force"), "{said}");
}

#[test]
fn fails_with_126_without_rules() {
    let output = inside("exec \"$weft\" --run-validation --skip-rule-apply");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(126), "{said}");
    assert!(
        said.contains("traffic of this pod is not captured"),
        "{said}"
    );
}

#[test]
fn takes_no_privileges() {
    if !rustix::process::getuid().is_root() {
        let skipped = std::env::var("WEFT_SKIP").unwrap_or_default();
        assert!(
            skipped.split(',').any(|name| name == "root"),
            "only root can become another user: WEFT_SKIP=root skips this test"
        );
        // Past the harness, which shows what a test prints only when it fails.
        let _ = writeln!(
            std::io::stderr(),
            "redirect: takes_no_privileges was skipped (WEFT_SKIP)"
        );
        return;
    }
    let user = "setpriv --reuid 65532 --regid 65532 --clear-groups --bounding-set=-all";
    let output = inside(&format!(
        "\"$weft\"; exec {user} \"$weft\" --run-validation --skip-rule-apply"
    ));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
}
