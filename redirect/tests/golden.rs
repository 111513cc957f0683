//! The rules as text, in both forms, for the parameters that people use.

use std::fmt::Write;

use clap::Parser;
use redirect::{Ruleset, args::Args, iptables, nft, rules::Family};

/// Renders the rules for a command line in every form.
fn rendered(line: &str) -> String {
    let args = Args::parse_from(
        std::iter::once("weft-redirect").chain(line.split(' ').filter(|word| !word.is_empty())),
    );
    let capture = args
        .capture("nameserver 10.96.0.10\nnameserver fd00::a\n")
        .expect("parameters are valid");
    let ruleset = Ruleset::new(&capture);
    let mut out = String::new();
    let forms = [
        ("nft", nft::render(&ruleset)),
        (
            "iptables-restore",
            iptables::render(&ruleset, Family::V4, ""),
        ),
        (
            "ip6tables-restore",
            iptables::render(&ruleset, Family::V6, ""),
        ),
    ];
    for (name, text) in forms {
        let _ = writeln!(out, "### {name}\n{text}");
    }
    out
}

macro_rules! golden {
    ($($name:ident: $line:expr;)*) => {
        $(#[test]
        fn $name() {
            insta::assert_snapshot!(stringify!($name), rendered($line), $line);
        })*
    };
}

golden! {
    defaults: "";
    tproxy: "-m TPROXY";
    ranges_of_both_families: "-i 10.0.0.0/8,fd00::/8 -x 10.1.0.0/16,fd00:1::/32";
    nothing_outbound: "-i=";
    listed_inbound_ports: "-b 80,443";
    no_inbound: "-b=";
    ports: "-d 22 -o 5432,6379 -q 9999";
    interfaces: "-c eth1,veth+ -k net1";
    dns: "--redirect-dns";
    all_dns: "--redirect-dns --capture-all-dns";
    loopback_included: "-i 127.0.0.0/8";
    socket_mark: "--socket-mark 4919 -u= -g=";
    drop_invalid: "--drop-invalid";
}

#[test]
fn a_second_run_replaces_the_first() {
    let existing = "\
*nat
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:WEFT_OLD - [0:0]
:WEFT_OUTPUT - [0:0]
:KUBE_SERVICES - [0:0]
-A OUTPUT -j KUBE_SERVICES
-A OUTPUT -p tcp -m comment --comment weft -j WEFT_OUTPUT
-A WEFT_OUTPUT -d 127.0.0.1/32 -j RETURN
COMMIT
";
    let args = Args::parse_from(["weft-redirect", "-b", ""]);
    let ruleset = Ruleset::new(&args.capture("").expect("parameters are valid"));
    let text = iptables::render(&ruleset, Family::V4, existing);
    let changes: Vec<_> = text
        .lines()
        .filter(|line| {
            ["-D", "-F", "-X", ":"]
                .iter()
                .any(|start| line.starts_with(start))
        })
        .collect();
    assert_eq!(
        changes,
        [
            ":WEFT_REDIRECT - [0:0]",
            ":WEFT_IN_REDIRECT - [0:0]",
            ":WEFT_INBOUND - [0:0]",
            ":WEFT_OUTPUT - [0:0]",
            "-D OUTPUT -p tcp -m comment --comment weft -j WEFT_OUTPUT",
            "-F WEFT_OLD",
            "-X WEFT_OLD",
        ]
    );
    assert_eq!(
        iptables::render_cleanup(existing),
        "*nat\n-D OUTPUT -p tcp -m comment --comment weft -j WEFT_OUTPUT\n-F WEFT_OLD\n-F WEFT_OUTPUT\n-X WEFT_OLD\n-X WEFT_OUTPUT\nCOMMIT\n"
    );
}
