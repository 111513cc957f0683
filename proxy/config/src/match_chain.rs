//! Finding the filter chain of a connection.
//!
//! Envoy narrows the chains down property by property, always in the same order, and keeps only those that
//! are most specific in the property at hand: an exact port before any port, the longest prefix, the exact name
//! before the longest wildcard. It never goes back: once a more specific port has been chosen, chains without a
//! port are out, even if nothing is left in the end.
//! Listeners have few chains (gateways some hundred, told apart by one comparison of names each), so that
//! scanning a list costs less than walking a tree of nine maps.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use smallvec::SmallVec;

use crate::filter_chain::{ConnectionFacts, FilterChainMatch, SourceType};

/// The chain for a connection, the default chain aside.
pub fn find<'a, C>(
    chains: &'a [C],
    matches: impl Fn(&C) -> &FilterChainMatch,
    facts: &ConnectionFacts<'_>,
) -> Option<&'a C> {
    if let [only] = chains
        && *matches(only) == FilterChainMatch::default()
    {
        return Some(only);
    }
    let mut left: Left<'_, C> = chains.iter().map(|chain| (chain, matches(chain))).collect();
    let local = source_is_local(facts.destination, facts.source);
    narrow(&mut left, |m| {
        by_value(m.destination_port.as_slice(), facts.destination.port())
    });
    narrow(&mut left, |m| {
        by_prefix(&m.destination_prefixes, facts.destination.ip())
    });
    narrow(&mut left, |m| {
        by_server_name(&m.server_names, facts.server_name)
    });
    narrow(&mut left, |m| {
        by_value(m.transport.as_slice(), facts.transport)
    });
    narrow(&mut left, |m| {
        by_protocol(&m.application_protocols, facts.application_protocols)
    });
    narrow(&mut left, |m| {
        by_prefix(&m.direct_source_prefixes, facts.direct_source)
    });
    narrow(&mut left, |m| by_source_type(m.source_type, local));
    narrow(&mut left, |m| {
        by_prefix(&m.source_prefixes, facts.source.ip())
    });
    narrow(&mut left, |m| {
        by_value(&m.source_ports, facts.source.port())
    });
    left.first().map(|(chain, _)| *chain)
}

/// How specific a match is; `None` is no match, 0 is a chain that does not mind.
type Rank = Option<usize>;

/// Chains that are still in question.
type Left<'a, C> = SmallVec<[(&'a C, &'a FilterChainMatch); 16]>;

fn narrow<C>(left: &mut Left<'_, C>, rank: impl Fn(&FilterChainMatch) -> Rank) {
    let best = left.iter().filter_map(|(_, matches)| rank(matches)).max();
    left.retain(|(_, matches)| best.is_some() && rank(matches) == best);
}

fn by_value<T: PartialEq>(wanted: &[T], value: T) -> Rank {
    match wanted {
        [] => Some(0),
        _ => wanted.contains(&value).then_some(1),
    }
}

fn by_prefix(prefixes: &[IpNet], ip: IpAddr) -> Rank {
    if prefixes.is_empty() {
        return Some(0);
    }
    let containing = prefixes.iter().filter(|prefix| prefix.contains(&ip));
    containing
        .map(|prefix| usize::from(prefix.prefix_len()) + 1)
        .max()
}

fn by_server_name(names: &[Box<str>], server_name: Option<&str>) -> Rank {
    if names.is_empty() {
        return Some(0);
    }
    let server_name = server_name.filter(|name| !name.is_empty())?;
    let rank = |name: &str| match name.strip_prefix('*') {
        Some(suffix) => {
            let longer = server_name.len() > suffix.len();
            (longer && server_name.ends_with(suffix)).then_some(name.len())
        }
        None => (name == server_name).then_some(usize::MAX),
    };
    names.iter().filter_map(|name| rank(name)).max()
}

/// The client's first protocol that any chain names wins.
fn by_protocol(wanted: &[Box<str>], offered: &[Box<str>]) -> Rank {
    if wanted.is_empty() {
        return Some(0);
    }
    let position = offered
        .iter()
        .position(|protocol| wanted.contains(protocol))?;
    Some(offered.len() - position)
}

fn by_source_type(wanted: SourceType, local: bool) -> Rank {
    match wanted {
        SourceType::Any => Some(0),
        SourceType::SameIpOrLoopback => local.then_some(1),
        SourceType::External => (!local).then_some(1),
    }
}

fn source_is_local(destination: SocketAddr, source: SocketAddr) -> bool {
    source.ip().is_loopback() || source.ip() == destination.ip()
}

/// Two chains that some connection could match equally well, which Envoy rejects.
pub fn overlapping(chains: &[FilterChainMatch]) -> Option<(usize, usize)> {
    (0..chains.len()).find_map(|later| {
        (0..later)
            .find(|&earlier| overlap(&chains[earlier], &chains[later]))
            .map(|earlier| (earlier, later))
    })
}

fn overlap(a: &FilterChainMatch, b: &FilterChainMatch) -> bool {
    fn shared<T: PartialEq>(a: &[T], b: &[T]) -> bool {
        (a.is_empty() && b.is_empty()) || a.iter().any(|value| b.contains(value))
    }
    a.destination_port == b.destination_port
        && a.transport == b.transport
        && a.source_type == b.source_type
        && shared(&a.destination_prefixes, &b.destination_prefixes)
        && shared(&a.server_names, &b.server_names)
        && shared(&a.application_protocols, &b.application_protocols)
        && shared(&a.direct_source_prefixes, &b.direct_source_prefixes)
        && shared(&a.source_prefixes, &b.source_prefixes)
        && shared(&a.source_ports, &b.source_ports)
}

#[cfg(test)]
mod tests;
