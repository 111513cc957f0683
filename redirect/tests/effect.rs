//! The rules by their effect: connections in a real network namespace and where they arrive.
//!
//! Each test runs itself again below `unshare`, in a namespace with an outside peer behind a veth
//! pair. The proxy's two listeners report the original destination of what reaches them.

#[path = "effect/lab.rs"]
mod lab;

use lab::{Arrival, Arrival::*, Client, Client::*, Lab};

/// Applies `flags` with each tool and checks where each connection arrives.
fn check(test: &str, flags: &[&str], cases: &[(Client, &str, Arrival)]) {
    let Some(lab) = Lab::enter(test) else { return };
    for tool in ["nft", "iptables"] {
        let flags = |extra: &[&'static str]| -> Vec<String> {
            ["--tool", tool]
                .iter()
                .chain(flags)
                .chain(extra)
                .map(|flag| (*flag).to_owned())
                .collect()
        };
        lab.weft_redirect(&flags(&[]));
        // The second run must change nothing.
        lab.weft_redirect(&flags(&[]));
        for (client, to, expected) in cases {
            let found = lab.connect(*client, to.parse().expect("cases name socket addresses"));
            assert_eq!(found, *expected, "{client:?} to {to} with {tool}");
        }
        lab.weft_redirect(&flags(&["--cleanup"]));
        assert_eq!(
            lab.connect(App, "10.9.0.1:80".parse().unwrap()),
            Direct,
            "after cleanup with {tool}"
        );
    }
}

#[test]
fn defaults() {
    check(
        "defaults",
        &[],
        &[
            (App, "10.9.0.1:80", Outbound("10.9.0.1:80")),
            (App, "203.0.113.7:443", Outbound("203.0.113.7:443")),
            (App, "[fd09::1]:80", Outbound("[fd09::1]:80")),
            (App, "[2001:db8::7]:443", Outbound("[2001:db8::7]:443")),
            // Localhost is private; so is the application's own address.
            (App, "127.0.0.1:80", Direct),
            (App, "[::1]:80", Direct),
            (App, "10.9.0.2:80", Direct),
            (App, "[fd09::2]:80", Direct),
            // The proxy is exempt, but enters its own pod as inbound.
            (Proxy, "10.9.0.1:80", Direct),
            (Proxy, "[fd09::1]:80", Direct),
            (Proxy, "10.9.0.2:80", Inbound("10.9.0.2:80")),
            (Proxy, "[fd09::2]:80", Inbound("[fd09::2]:80")),
            (Proxy, "127.0.0.1:80", Direct),
            (Passthrough, "10.9.0.2:80", Direct),
            (Peer, "10.9.0.2:80", Inbound("10.9.0.2:80")),
            (Peer, "[fd09::2]:80", Inbound("[fd09::2]:80")),
            (Peer, "10.9.0.2:15021", Direct),
            (Peer, "[fd09::2]:15090", Direct),
        ],
    );
}

#[test]
fn included_and_excluded_ranges_and_ports() {
    check(
        "included_and_excluded_ranges_and_ports",
        &[
            "-i",
            "10.9.0.0/24,fd09::/64",
            "-x",
            "10.9.0.1/32",
            "-q",
            "8080",
            "-o",
            "22",
            "-d",
            "80",
        ],
        &[
            (App, "10.9.0.1:80", Direct),
            (App, "10.9.0.3:80", Outbound("10.9.0.3:80")),
            (App, "10.9.0.3:22", Direct),
            (App, "[fd09::1]:80", Outbound("[fd09::1]:80")),
            (App, "203.0.113.7:443", Direct),
            (App, "[2001:db8::7]:443", Direct),
            (App, "203.0.113.7:8080", Outbound("203.0.113.7:8080")),
            (Peer, "10.9.0.2:80", Direct),
            (Peer, "10.9.0.2:8080", Inbound("10.9.0.2:8080")),
        ],
    );
}

#[test]
fn listed_inbound_ports() {
    check(
        "listed_inbound_ports",
        &["-b", "8080", "-i", ""],
        &[
            (Peer, "10.9.0.2:8080", Inbound("10.9.0.2:8080")),
            (Peer, "10.9.0.2:80", Direct),
            (App, "10.9.0.1:80", Direct),
        ],
    );
}

#[test]
fn an_excluded_interface() {
    check(
        "an_excluded_interface",
        &["-c", "eth0"],
        &[
            (Peer, "10.9.0.2:80", Direct),
            (App, "10.9.0.1:80", Direct),
            (Proxy, "10.9.0.2:80", Inbound("10.9.0.2:80")),
        ],
    );
}

#[test]
fn a_socket_mark_exempts_like_the_proxys_user() {
    check(
        "a_socket_mark_exempts_like_the_proxys_user",
        &["--socket-mark", "4919"],
        &[
            (App, "10.9.0.1:80", Outbound("10.9.0.1:80")),
            (Marked, "10.9.0.1:80", Direct),
            (Marked, "[fd09::1]:80", Direct),
            (Marked, "10.9.0.2:80", Inbound("10.9.0.2:80")),
            (App, "10.9.0.2:80", Direct),
        ],
    );
}

#[test]
fn tproxy_keeps_the_destination() {
    check(
        "tproxy_keeps_the_destination",
        &["-m", "TPROXY"],
        &[
            (Peer, "10.9.0.2:80", Transparent("10.9.0.2:80")),
            (Peer, "[fd09::2]:80", Transparent("[fd09::2]:80")),
            (Peer, "10.9.0.2:15021", Direct),
            (App, "10.9.0.1:80", Outbound("10.9.0.1:80")),
            (App, "10.9.0.2:80", Direct),
            (Proxy, "10.9.0.2:80", Transparent("10.9.0.2:80")),
            (Proxy, "10.9.0.1:80", Direct),
        ],
    );
}

#[test]
fn without_the_right_capture_fails_closed() {
    let bin = env!("CARGO_BIN_EXE_weft-redirect");
    // A user namespace alone has no rights over the network namespace around it.
    let output = std::process::Command::new("unshare")
        .args(["-r", bin])
        .output()
        .expect("unshare is installed");
    let reason = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{reason}");
    assert!(reason.starts_with("weft-redirect: "), "{reason}");
}
