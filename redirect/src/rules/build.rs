//! From parameters to rules, in Istio's order.
//!
//! Outbound (`WEFT_OUTPUT`): exclusions, then the proxy's own connections, then localhost, then
//! what is included. Inbound (`WEFT_INBOUND`): exclusions, then everything or the listed ports.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{BaseChain, Chain, Hook, Match, Owner, PolicyRouting, Proto, Rule, Ruleset, Verdict};
use crate::capture::{Capture, DnsCapture, InboundMode, Ports, Ranges};
use crate::validate::{PROBE, PROBE_SOURCE};

const INBOUND: &str = "WEFT_INBOUND";
const OUTPUT: &str = "WEFT_OUTPUT";
const REDIRECT: &str = "WEFT_REDIRECT";
const IN_REDIRECT: &str = "WEFT_IN_REDIRECT";
const DIVERT: &str = "WEFT_DIVERT";
const TPROXY: &str = "WEFT_TPROXY";

/// Zone of the proxy's own DNS queries, apart from the application's in [`ZONE_APP`], so that equal
/// source ports of both cannot meet in one connection-tracking entry.
const ZONE_PROXY: u16 = 1;
const ZONE_APP: u16 = 2;

impl Ruleset {
    /// The rules for `capture`.
    pub fn new(capture: &Capture) -> Self {
        let tproxy = capture.inbound_mode == InboundMode::Tproxy;
        let mut chains = vec![
            redirect(REDIRECT, capture.outbound_port),
            redirect(IN_REDIRECT, capture.inbound_port),
        ];
        if tproxy {
            chains.extend([divert(capture), hand_over(capture)]);
        }
        chains.extend([inbound(capture), output(capture)]);
        let mut bases = vec![
            base(Hook::RawPrerouting, dns_zones_in(capture)),
            base(Hook::RawOutput, dns_zones_out(capture)),
            base(Hook::ManglePrerouting, mangle_prerouting(capture)),
            base(Hook::MangleOutput, mangle_output(capture)),
            base(Hook::NatPrerouting, nat_prerouting(capture)),
            base(Hook::NatOutput, nat_output(capture)),
        ];
        bases.retain(|base| !base.rules.is_empty());
        let routing = tproxy.then_some(PolicyRouting {
            mark: capture.tproxy_mark,
            table: capture.tproxy_route_table,
        });
        Self {
            chains,
            bases,
            routing,
        }
    }
}

fn base(hook: Hook, rules: Vec<Rule>) -> BaseChain {
    BaseChain { hook, rules }
}

fn redirect(name: &'static str, port: u16) -> Chain {
    let why = if name == REDIRECT {
        "outbound connections go to the proxy"
    } else {
        "inbound connections go to the proxy"
    };
    Chain {
        name,
        hook: Hook::NatOutput,
        rules: vec![tcp(why, vec![], Verdict::Redirect(port))],
    }
}

fn divert(capture: &Capture) -> Chain {
    let rules = vec![
        any(
            "packets of known connections stay on this machine",
            vec![],
            Verdict::SetMark(capture.tproxy_mark),
        ),
        any("", vec![], Verdict::Accept),
    ];
    Chain {
        name: DIVERT,
        hook: Hook::ManglePrerouting,
        rules,
    }
}

fn hand_over(capture: &Capture) -> Chain {
    let verdict = Verdict::Tproxy {
        port: capture.inbound_port,
        mark: capture.tproxy_mark,
    };
    let rules = localhost()
        .map(|net| {
            tcp(
                "new inbound connections go to the proxy's transparent socket",
                vec![Match::NotDest(net)],
                verdict.clone(),
            )
        })
        .to_vec();
    Chain {
        name: TPROXY,
        hook: Hook::ManglePrerouting,
        rules,
    }
}

/// Inbound capture; lives in `mangle` for TPROXY, else in `nat`.
fn inbound(capture: &Capture) -> Chain {
    let tproxy = capture.inbound_mode == InboundMode::Tproxy;
    let mut rules = Vec::new();
    if tproxy {
        rules.push(tcp(
            "the proxy as the client",
            vec![Match::Mark(capture.tproxy_mark)],
            Verdict::Return,
        ));
        rules.extend(passthrough_sources().map(|net| {
            let matches = vec![Match::Source(net), Match::InInterface("lo".into())];
            tcp(
                "the proxy's own pass-through to the application",
                matches,
                Verdict::Return,
            )
        }));
        let foreign = vec![
            Match::InInterface("lo".into()),
            Match::NotMark(own_pod_mark(capture)),
        ];
        rules.push(tcp(
            "the application calling its own pod address stays as it is",
            foreign,
            Verdict::Return,
        ));
    }
    rules.push(tcp(
        "tunnel port",
        vec![Match::Dport(capture.tunnel_port)],
        Verdict::Return,
    ));
    let target = |matches: Vec<Match>| {
        let verdict = Verdict::Jump(if tproxy { TPROXY } else { IN_REDIRECT });
        tcp("captured inbound", matches, verdict)
    };
    match &capture.include_inbound_ports {
        Ports::All => {
            rules.extend(capture.exclude_inbound_ports.iter().map(|port| {
                tcp(
                    "excluded inbound port",
                    vec![Match::Dport(*port)],
                    Verdict::Return,
                )
            }));
            if tproxy {
                rules.push(tcp("", vec![Match::Established], Verdict::Jump(DIVERT)));
            }
            rules.push(target(vec![]));
        }
        Ports::List(ports) => {
            for port in ports {
                if tproxy {
                    rules.push(tcp(
                        "",
                        vec![Match::Dport(*port), Match::Established],
                        Verdict::Jump(DIVERT),
                    ));
                }
                rules.push(target(vec![Match::Dport(*port)]));
            }
        }
    }
    let hook = if tproxy {
        Hook::ManglePrerouting
    } else {
        Hook::NatPrerouting
    };
    Chain {
        name: INBOUND,
        hook,
        rules,
    }
}

fn output(capture: &Capture) -> Chain {
    let mut rules = Vec::new();
    rules.extend(capture.exclude_interfaces.iter().map(|name| {
        any(
            "excluded interface",
            vec![Match::OutInterface(name.clone())],
            Verdict::Return,
        )
    }));
    rules.extend(capture.exclude_outbound_ports.iter().map(|port| {
        tcp(
            "excluded outbound port",
            vec![Match::Dport(*port)],
            Verdict::Return,
        )
    }));
    rules.extend(passthrough_sources().map(|net| {
        let matches = vec![Match::OutInterface("lo".into()), Match::Source(net)];
        any(
            "the proxy's own pass-through to the application",
            matches,
            Verdict::Return,
        )
    }));
    rules.extend(own_connections(capture));
    rules.extend(dns_tcp(capture));
    rules.extend(localhost().map(|net| {
        any(
            "localhost is private to the pod",
            vec![Match::Dest(net)],
            Verdict::Return,
        )
    }));
    rules.extend(
        capture
            .exclude_ranges
            .iter()
            .map(|net| any("excluded range", vec![Match::Dest(*net)], Verdict::Return)),
    );
    rules.extend(capture.include_outbound_ports.iter().map(|port| {
        tcp(
            "included outbound port",
            vec![Match::Dport(*port)],
            Verdict::Jump(REDIRECT),
        )
    }));
    rules.extend(
        included(capture).map(|matches| tcp("captured outbound", matches, Verdict::Jump(REDIRECT))),
    );
    Chain {
        name: OUTPUT,
        hook: Hook::NatOutput,
        rules,
    }
}

/// Loopback traffic and the proxy's own connections.
///
/// Differs from Istio, which repeats all three rules for each user and then each group, so that the
/// first user's "not mine" rule hides the following ones; here one rule asks for all identities.
fn own_connections(capture: &Capture) -> Vec<Rule> {
    let owners = owners(capture);
    let mut not_tunnelled = vec![capture.tunnel_port];
    if capture.dns.is_some() {
        not_tunnelled.insert(0, 53);
    }
    let mut rules = Vec::new();
    let tproxy = capture.inbound_mode == InboundMode::Tproxy;
    if tproxy {
        let marked = vec![
            Match::OutInterface("lo".into()),
            Match::Mark(own_pod_mark(capture)),
        ];
        rules.push(tcp(
            "the proxy calling its own pod is captured on arrival",
            marked,
            Verdict::Return,
        ));
    }
    for owner in owners.iter().filter(|_| !tproxy) {
        rules.extend(localhost().map(|net| {
            let matches = vec![
                Match::OutInterface("lo".into()),
                Match::NotDest(net),
                Match::NotDports(not_tunnelled.clone()),
                Match::Owner(*owner),
            ];
            tcp(
                "the proxy calling its own pod through a service enters as inbound",
                matches,
                Verdict::Jump(IN_REDIRECT),
            )
        }));
    }
    if !capture.include_ranges.names_loopback() {
        let mut matches = vec![Match::OutInterface("lo".into())];
        if capture.dns.is_some() {
            matches.push(Match::NotDports(vec![53]));
        }
        matches.extend(owners.iter().map(|owner| Match::NotOwner(*owner)));
        rules.push(tcp(
            "the application calling its own pod address stays as it is",
            matches,
            Verdict::Return,
        ));
    }
    rules.extend(owners.iter().map(|owner| {
        any(
            "the proxy's own connections leave the pod",
            vec![Match::Owner(*owner)],
            Verdict::Return,
        )
    }));
    rules
}

fn owners(capture: &Capture) -> Vec<Owner> {
    let uids = capture.proxy_uids.iter().map(|id| Owner::Uid(*id));
    let gids = capture.proxy_gids.iter().map(|id| Owner::Gid(*id));
    uids.chain(gids)
        .chain(capture.socket_mark.map(Owner::Mark))
        .collect()
}

/// One set of conditions for each included range.
fn included(capture: &Capture) -> impl Iterator<Item = Vec<Match>> {
    match &capture.include_ranges {
        Ranges::All => vec![vec![]],
        Ranges::List(ranges) => ranges.iter().map(|net| vec![Match::Dest(*net)]).collect(),
    }
    .into_iter()
}

fn nat_prerouting(capture: &Capture) -> Vec<Rule> {
    let mut rules: Vec<_> = capture
        .reroute_interfaces
        .iter()
        .flat_map(|name| rerouted(capture, name))
        .collect();
    if capture.inbound_mode == InboundMode::Redirect && captures_inbound(capture) {
        rules.push(tcp("inbound connections", vec![], Verdict::Jump(INBOUND)));
    }
    if !rules.is_empty() {
        rules.splice(0..0, excluded_interfaces_in(capture));
    }
    rules
}

/// What comes in from a virtual machine in the pod is the pod's outbound traffic.
fn rerouted(capture: &Capture, name: &str) -> Vec<Rule> {
    let from = |mut matches: Vec<Match>| {
        matches.insert(0, Match::InInterface(name.to_owned()));
        matches
    };
    let mut rules: Vec<_> = capture
        .exclude_ranges
        .iter()
        .map(|net| {
            any(
                "excluded range",
                from(vec![Match::Dest(*net)]),
                Verdict::Return,
            )
        })
        .collect();
    rules.extend(included(capture).map(|matches| {
        tcp(
            "outbound of a virtual machine",
            from(matches),
            Verdict::Jump(REDIRECT),
        )
    }));
    rules.push(any("", from(vec![]), Verdict::Return));
    rules
}

fn captures_inbound(capture: &Capture) -> bool {
    !matches!(&capture.include_inbound_ports, Ports::List(ports) if ports.is_empty())
}

fn excluded_interfaces_in(capture: &Capture) -> Vec<Rule> {
    let rule = |name: &String| {
        any(
            "excluded interface",
            vec![Match::InInterface(name.clone())],
            Verdict::Return,
        )
    };
    capture.exclude_interfaces.iter().map(rule).collect()
}

fn nat_output(capture: &Capture) -> Vec<Rule> {
    let mut rules = vec![
        probe(capture),
        tcp("outbound connections", vec![], Verdict::Jump(OUTPUT)),
    ];
    if let Some(dns) = &capture.dns {
        rules.extend(owners(capture).into_iter().map(|owner| {
            udp(
                "the proxy's own queries",
                vec![Match::Dport(53), Match::Owner(owner)],
                Verdict::Return,
            )
        }));
        rules.extend(dns_targets(dns).map(|matches| {
            udp(
                "DNS queries go to the proxy",
                matches,
                Verdict::Redirect(dns.port),
            )
        }));
    }
    rules
}

/// What [`crate::validate`] looks for, whoever asks and whatever else is captured.
///
/// Differs from Istio, whose check relies on the rule for the proxy calling its own pod, and so on the
/// proxy's user and on parameters that the pod's author sets. The proxy itself connects from 127.0.0.6.
fn probe(capture: &Capture) -> Rule {
    let (from, to) = (PROBE_SOURCE, *PROBE.ip());
    tcp(
        "the check that capture is in force",
        vec![
            Match::Dport(PROBE.port()),
            Match::Source(IpNet::from(IpAddr::V4(from))),
            Match::Dest(IpNet::from(IpAddr::V4(to))),
        ],
        Verdict::Redirect(capture.inbound_port),
    )
}

fn dns_tcp(capture: &Capture) -> Vec<Rule> {
    let Some(dns) = &capture.dns else {
        return Vec::new();
    };
    dns_targets(dns)
        .map(|matches| {
            tcp(
                "DNS queries go to the proxy",
                matches,
                Verdict::Redirect(dns.port),
            )
        })
        .collect()
}

fn dns_targets(dns: &DnsCapture) -> impl Iterator<Item = Vec<Match>> {
    match &dns.servers {
        None => vec![vec![Match::Dport(53)]],
        Some(servers) => servers
            .iter()
            .map(|server| vec![Match::Dport(53), Match::Dest(IpNet::from(*server))])
            .collect(),
    }
    .into_iter()
}

fn dns_zones_out(capture: &Capture) -> Vec<Rule> {
    let Some(dns) = &capture.dns else {
        return Vec::new();
    };
    let mut rules = Vec::new();
    for owner in owners(capture) {
        rules.push(udp(
            "the proxy's own queries",
            vec![Match::Dport(53), Match::Owner(owner)],
            Verdict::Zone(ZONE_PROXY),
        ));
        rules.push(udp(
            "the proxy's answers",
            vec![Match::Sport(dns.port), Match::Owner(owner)],
            Verdict::Zone(ZONE_APP),
        ));
    }
    let others: Vec<_> = owners(capture).into_iter().map(Match::NotOwner).collect();
    rules.extend(dns_targets(dns).map(|mut matches| {
        matches.extend(others.iter().cloned());
        udp(
            "the application's queries",
            matches,
            Verdict::Zone(ZONE_APP),
        )
    }));
    rules
}

fn dns_zones_in(capture: &Capture) -> Vec<Rule> {
    let Some(dns) = &capture.dns else {
        return Vec::new();
    };
    let sources = match &dns.servers {
        None => vec![vec![Match::Sport(53)]],
        Some(servers) => servers
            .iter()
            .map(|server| vec![Match::Sport(53), Match::Source(IpNet::from(*server))])
            .collect(),
    };
    sources
        .into_iter()
        .map(|matches| udp("answers to the proxy", matches, Verdict::Zone(ZONE_PROXY)))
        .collect()
}

fn mangle_prerouting(capture: &Capture) -> Vec<Rule> {
    let mut rules = Vec::new();
    if capture.drop_invalid {
        rules.push(any(
            "out-of-window packets would be answered with a reset",
            vec![Match::Invalid],
            Verdict::Drop,
        ));
    }
    if capture.inbound_mode == InboundMode::Tproxy {
        rules.extend(excluded_interfaces_in(capture));
        if captures_inbound(capture) {
            rules.push(tcp("inbound connections", vec![], Verdict::Jump(INBOUND)));
        }
        let marked = vec![Match::Mark(capture.tproxy_mark)];
        rules.push(tcp(
            "remember which connections the proxy opened as the client",
            marked,
            Verdict::SaveMark,
        ));
    }
    rules
}

fn mangle_output(capture: &Capture) -> Vec<Rule> {
    if capture.inbound_mode != InboundMode::Tproxy {
        return Vec::new();
    }
    let mark = capture.tproxy_mark;
    let own_pod = |net: IpNet, owner| {
        let matches = vec![
            Match::OutInterface("lo".into()),
            Match::NotDest(net),
            Match::Owner(owner),
        ];
        let why = "the proxy calling its own pod through a service enters as inbound";
        tcp(why, matches, Verdict::SetMark(own_pod_mark(capture)))
    };
    let client = vec![Match::OutInterface("lo".into()), Match::Mark(mark)];
    let mut rules = vec![tcp("the proxy as the client", client, Verdict::Return)];
    for owner in owners(capture) {
        rules.extend(localhost().map(|net| own_pod(net, owner)));
    }
    rules.push(tcp(
        "the application's answers return to the proxy",
        vec![Match::ConnMark(mark)],
        Verdict::RestoreMark,
    ));
    rules
}

/// Mark of the proxy's connections to its own pod in TPROXY mode; Istio's is 1338 beside 1337.
fn own_pod_mark(capture: &Capture) -> u32 {
    capture.tproxy_mark.wrapping_add(1)
}

fn localhost() -> [IpNet; 2] {
    [
        [127, 0, 0, 1].into(),
        IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
    ]
    .map(IpNet::from)
}

/// Source addresses that the proxy binds when it passes an inbound connection on to the application.
fn passthrough_sources() -> [IpNet; 2] {
    [
        [127, 0, 0, 6].into(),
        IpAddr::from([0, 0, 0, 0, 0, 0, 0, 6]),
    ]
    .map(IpNet::from)
}

fn any(why: &'static str, matches: Vec<Match>, verdict: Verdict) -> Rule {
    Rule {
        why,
        proto: None,
        matches,
        verdict,
    }
}

fn tcp(why: &'static str, matches: Vec<Match>, verdict: Verdict) -> Rule {
    Rule {
        why,
        proto: Some(Proto::Tcp),
        matches,
        verdict,
    }
}

fn udp(why: &'static str, matches: Vec<Match>, verdict: Verdict) -> Rule {
    Rule {
        why,
        proto: Some(Proto::Udp),
        matches,
        verdict,
    }
}
