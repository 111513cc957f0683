//! Renders a [`Ruleset`] as one script for `nft -f -`.
//!
//! Everything is in one table of family `inet`, so one transaction replaces both address families;
//! declaring the table before deleting it makes the script idempotent.

use std::fmt::Write;

use ipnet::IpNet;

use crate::rules::{Family, Hook, Match, Owner, Proto, Rule, Ruleset, Verdict};

/// Name of our table.
pub const TABLE: &str = "weft";

/// The script that replaces whatever rules of ours exist by `ruleset`.
pub fn render(ruleset: &Ruleset) -> String {
    let mut out = render_cleanup();
    let _ = writeln!(out, "table inet {TABLE} {{");
    let mut first = true;
    let chains = ruleset
        .chains
        .iter()
        .map(|chain| (chain.name.to_lowercase(), None, &chain.rules));
    let bases = ruleset
        .bases
        .iter()
        .map(|base| (base_name(base.hook), Some(base.hook), &base.rules));
    for (name, hook, rules) in chains.chain(bases) {
        if !std::mem::take(&mut first) {
            out.push('\n');
        }
        let _ = writeln!(out, "\tchain {name} {{");
        if let Some(hook) = hook {
            let _ = writeln!(out, "\t\t{}", attachment(hook));
        }
        let mut why = "";
        for rule in rules {
            if !rule.why.is_empty() && rule.why != why {
                let _ = writeln!(out, "\t\t# {}", rule.why);
            }
            why = rule.why;
            let _ = writeln!(out, "\t\t{}", rule_words(rule));
        }
        out.push_str("\t}\n");
    }
    out.push_str("}\n");
    out
}

/// The script that removes our rules, if there are any.
pub fn render_cleanup() -> String {
    format!("table inet {TABLE}\ndelete table inet {TABLE}\n")
}

fn base_name(hook: Hook) -> String {
    format!("{}_{}", hook.table(), hook.builtin().to_lowercase())
}

fn attachment(hook: Hook) -> String {
    let kind = match hook {
        Hook::NatPrerouting | Hook::NatOutput => "nat",
        // A changed mark must lead to a new routing decision.
        Hook::MangleOutput => "route",
        Hook::RawPrerouting | Hook::RawOutput | Hook::ManglePrerouting => "filter",
    };
    let priority = match hook.table() {
        "raw" => -300,
        "mangle" => -150,
        _ => -100,
    };
    let at = hook.builtin().to_lowercase();
    format!("type {kind} hook {at} priority {priority}; policy accept;")
}

fn rule_words(rule: &Rule) -> String {
    let has_port = rule.matches.iter().any(|condition| {
        matches!(
            condition,
            Match::Dport(_) | Match::NotDports(_) | Match::Sport(_)
        )
    });
    let mut words = Vec::new();
    // A port condition implies its protocol.
    if let (Some(proto), false) = (rule.proto, has_port) {
        words.push(format!("meta l4proto {}", proto_word(proto)));
    }
    words.extend(
        rule.matches
            .iter()
            .map(|condition| match_words(rule.proto, condition)),
    );
    words.push(verdict_words(&rule.verdict, rule.family()));
    words.join(" ")
}

fn proto_word(proto: Proto) -> &'static str {
    match proto {
        Proto::Tcp => "tcp",
        Proto::Udp => "udp",
    }
}

fn match_words(proto: Option<Proto>, condition: &Match) -> String {
    let proto = proto_word(proto.unwrap_or(Proto::Tcp));
    match condition {
        Match::Dport(port) => format!("{proto} dport {port}"),
        Match::NotDports(ports) if ports.len() == 1 => format!("{proto} dport != {}", ports[0]),
        Match::NotDports(ports) => {
            let list: Vec<_> = ports.iter().map(u16::to_string).collect();
            format!("{proto} dport != {{ {} }}", list.join(", "))
        }
        Match::Sport(port) => format!("{proto} sport {port}"),
        Match::Source(net) => format!("{} saddr {}", family_word(net), prefix(net)),
        Match::Dest(net) => format!("{} daddr {}", family_word(net), prefix(net)),
        Match::NotDest(net) => format!("{} daddr != {}", family_word(net), prefix(net)),
        Match::InInterface(name) => format!("iifname \"{}\"", interface(name)),
        Match::OutInterface(name) => format!("oifname \"{}\"", interface(name)),
        Match::Owner(owner) => owner_words(*owner, ""),
        Match::NotOwner(owner) => owner_words(*owner, "!= "),
        Match::Mark(mark) => format!("meta mark {mark}"),
        Match::NotMark(mark) => format!("meta mark != {mark}"),
        Match::ConnMark(mark) => format!("ct mark {mark}"),
        Match::Established => "ct state established,related".to_owned(),
        Match::Invalid => "ct state invalid".to_owned(),
    }
}

fn owner_words(owner: Owner, comparison: &str) -> String {
    match owner {
        Owner::Uid(id) => format!("meta skuid {comparison}{id}"),
        Owner::Gid(id) => format!("meta skgid {comparison}{id}"),
        Owner::Mark(mark) => format!("meta mark {comparison}{mark}"),
    }
}

fn family_word(net: &IpNet) -> &'static str {
    match net {
        IpNet::V4(_) => "ip",
        IpNet::V6(_) => "ip6",
    }
}

/// Whole addresses without their length, as nft lists them.
fn prefix(net: &IpNet) -> String {
    if net.prefix_len() == net.max_prefix_len() {
        net.addr().to_string()
    } else {
        net.to_string()
    }
}

/// nft's wildcard is `*` where iptables' is `+`.
fn interface(name: &str) -> String {
    name.strip_suffix('+')
        .map_or_else(|| name.to_owned(), |stem| format!("{stem}*"))
}

fn verdict_words(verdict: &Verdict, family: Option<Family>) -> String {
    match verdict {
        Verdict::Return => "return".to_owned(),
        Verdict::Accept => "accept".to_owned(),
        Verdict::Drop => "drop".to_owned(),
        Verdict::Jump(chain) => format!("jump {}", chain.to_lowercase()),
        Verdict::Redirect(port) => format!("redirect to :{port}"),
        Verdict::Tproxy { port, mark } => {
            // A rule that names an address must name the family here as well.
            let family = match family {
                Some(Family::V4) => "ip ",
                Some(Family::V6) => "ip6 ",
                None => "",
            };
            // Unlike in iptables, nft's tproxy does not end the evaluation.
            format!("meta mark set {mark} tproxy {family}to :{port} accept")
        }
        Verdict::SetMark(mark) => format!("meta mark set {mark}"),
        Verdict::SaveMark => "ct mark set meta mark".to_owned(),
        Verdict::RestoreMark => "meta mark set ct mark".to_owned(),
        Verdict::Zone(zone) => format!("ct zone set {zone}"),
    }
}
