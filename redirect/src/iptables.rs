//! Renders a [`Ruleset`] as input for `iptables-restore --noflush` and `ip6tables-restore --noflush`.
//!
//! Each table is one transaction. Declaring a chain empties it, and attachments that an earlier run
//! left in the built-in chains are deleted in the same transaction, so applying twice is applying once.

use std::{collections::BTreeSet, fmt::Write};

use crate::rules::{Family, Match, Owner, Proto, Rule, Ruleset, Verdict};

/// Prefix of all chains of ours.
const PREFIX: &str = "WEFT_";

/// Tables in the order in which the kernel consults them.
const TABLES: [&str; 3] = ["raw", "mangle", "nat"];

/// Comment that marks our rules in built-in chains.
const TAG: &str = "weft";

/// Restore input that replaces rules of ours in `existing` (the output of `iptables-save`) by `ruleset`.
pub fn render(ruleset: &Ruleset, family: Family, existing: &str) -> String {
    let mut out = String::new();
    for table in TABLES {
        let chains: Vec<_> = ruleset
            .chains
            .iter()
            .filter(|chain| chain.hook.table() == table)
            .collect();
        let bases: Vec<_> = ruleset
            .bases
            .iter()
            .filter(|base| base.hook.table() == table)
            .collect();
        let old = Leftover::find(existing, table);
        if bases.is_empty() && old.is_empty() {
            continue;
        }
        let _ = writeln!(out, "*{table}");
        for chain in &chains {
            let _ = writeln!(out, ":{} - [0:0]", chain.name);
        }
        old.write_removal(&mut out, &chains.iter().map(|chain| chain.name).collect());
        for (name, rules) in chains.iter().map(|chain| (chain.name, &chain.rules)) {
            write_rules(&mut out, name, rules, family, false);
        }
        for base in bases {
            write_rules(&mut out, base.hook.builtin(), &base.rules, family, true);
        }
        out.push_str("COMMIT\n");
    }
    out
}

/// Restore input that removes rules of ours found in `existing`; empty if there are none.
pub fn render_cleanup(existing: &str) -> String {
    let nothing = Ruleset {
        chains: Vec::new(),
        bases: Vec::new(),
        routing: None,
    };
    render(&nothing, Family::V4, existing)
}

/// What an earlier run left in one table.
struct Leftover<'a> {
    attachments: Vec<&'a str>,
    chains: BTreeSet<&'a str>,
}

impl<'a> Leftover<'a> {
    fn find(existing: &'a str, table: &str) -> Self {
        let header = format!("*{table}");
        let lines = existing
            .lines()
            .skip_while(|line| *line != header)
            .take_while(|line| *line != "COMMIT");
        let mut found = Self {
            attachments: Vec::new(),
            chains: BTreeSet::new(),
        };
        for line in lines {
            if let Some(name) = line
                .strip_prefix(':')
                .and_then(|rest| rest.split(' ').next())
            {
                if name.starts_with(PREFIX) {
                    found.chains.insert(name);
                }
            } else if line.starts_with("-A ")
                && !line.starts_with(&format!("-A {PREFIX}"))
                && is_ours(line)
            {
                found.attachments.push(line);
            }
        }
        found
    }

    fn is_empty(&self) -> bool {
        self.attachments.is_empty() && self.chains.is_empty()
    }

    fn write_removal(&self, out: &mut String, kept: &BTreeSet<&str>) {
        for line in &self.attachments {
            let _ = writeln!(out, "{}", line.replacen("-A", "-D", 1));
        }
        let gone = || self.chains.iter().filter(|name| !kept.contains(**name));
        for name in gone() {
            let _ = writeln!(out, "-F {name}");
        }
        for name in gone() {
            let _ = writeln!(out, "-X {name}");
        }
    }
}

fn is_ours(line: &str) -> bool {
    line.contains(&format!("--comment {TAG}")) || line.contains(&format!("--comment \"{TAG}\""))
}

fn write_rules(out: &mut String, chain: &str, rules: &[Rule], family: Family, tagged: bool) {
    let applies = |rule: &&Rule| rule.family().is_none_or(|own| own == family);
    let mut why = "";
    for rule in rules.iter().filter(applies) {
        if !rule.why.is_empty() && rule.why != why {
            let _ = writeln!(out, "# {}", rule.why);
        }
        why = rule.why;
        let mut words = vec![format!("-A {chain}")];
        words.extend(rule.proto.map(|proto| format!("-p {}", proto_word(proto))));
        words.extend(rule.matches.iter().map(match_words));
        if tagged {
            words.push(format!("-m comment --comment {TAG}"));
        }
        words.push(verdict_words(&rule.verdict));
        let _ = writeln!(out, "{}", words.join(" "));
    }
}

fn proto_word(proto: Proto) -> &'static str {
    match proto {
        Proto::Tcp => "tcp",
        Proto::Udp => "udp",
    }
}

fn match_words(condition: &Match) -> String {
    match condition {
        Match::Dport(port) => format!("--dport {port}"),
        Match::NotDports(ports) if ports.len() == 1 => format!("! --dport {}", ports[0]),
        Match::NotDports(ports) => {
            let list: Vec<_> = ports.iter().map(u16::to_string).collect();
            format!("-m multiport ! --dports {}", list.join(","))
        }
        Match::Sport(port) => format!("--sport {port}"),
        Match::Source(net) => format!("-s {net}"),
        Match::Dest(net) => format!("-d {net}"),
        Match::NotDest(net) => format!("! -d {net}"),
        Match::InInterface(name) => format!("-i {name}"),
        Match::OutInterface(name) => format!("-o {name}"),
        Match::Owner(owner) => owner_words(*owner, ""),
        Match::NotOwner(owner) => owner_words(*owner, "! "),
        Match::Mark(mark) => format!("-m mark --mark {mark}"),
        Match::NotMark(mark) => format!("-m mark ! --mark {mark}"),
        Match::ConnMark(mark) => format!("-m connmark --mark {mark}"),
        Match::Established => "-m conntrack --ctstate RELATED,ESTABLISHED".to_owned(),
        Match::Invalid => "-m conntrack --ctstate INVALID".to_owned(),
    }
}

fn owner_words(owner: Owner, negation: &str) -> String {
    match owner {
        Owner::Uid(id) => format!("-m owner {negation}--uid-owner {id}"),
        Owner::Gid(id) => format!("-m owner {negation}--gid-owner {id}"),
        Owner::Mark(mark) => format!("-m mark {negation}--mark {mark}"),
    }
}

fn verdict_words(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Return => "-j RETURN".to_owned(),
        Verdict::Accept => "-j ACCEPT".to_owned(),
        Verdict::Drop => "-j DROP".to_owned(),
        Verdict::Jump(chain) => format!("-j {chain}"),
        Verdict::Redirect(port) => format!("-j REDIRECT --to-ports {port}"),
        Verdict::Tproxy { port, mark } => {
            format!("-j TPROXY --on-port {port} --tproxy-mark {mark}/0xffffffff")
        }
        Verdict::SetMark(mark) => format!("-j MARK --set-mark {mark}"),
        Verdict::SaveMark => "-j CONNMARK --save-mark".to_owned(),
        Verdict::RestoreMark => "-j CONNMARK --restore-mark".to_owned(),
        Verdict::Zone(zone) => format!("-j CT --zone {zone}"),
    }
}
