//! Listener filters: what looks at a connection before a filter chain is chosen.
//!
//! The inspectors wait for the client's first bytes, so they must not run where the server speaks
//! first; they are switched off for every port whose chains do not need them.

use std::collections::BTreeMap;

use xds::envoy::{listener, listener_filter, types};
use xds::prost::{Message, Name};
use xds::resource::pack;

use listener::listener_filter_chain_match_predicate::{MatchSet, Rule};

type Predicate = listener::ListenerFilterChainMatchPredicate;

/// What the chains of one destination port need to know about a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Needs {
    tls: bool,
    http: bool,
}

/// The filter that recovers where a redirected connection was going.
pub(crate) fn original_dst() -> listener::ListenerFilter {
    filter(
        "envoy.filters.listener.original_dst",
        &listener_filter::original_dst::OriginalDst::default(),
    )
}

/// The filter that recognises TLS and reads server name and ALPN.
pub(crate) fn tls_inspector() -> listener::ListenerFilter {
    filter(
        "envoy.filters.listener.tls_inspector",
        &listener_filter::tls_inspector::TlsInspector::default(),
    )
}

/// The filter that recognises HTTP.
pub(crate) fn http_inspector() -> listener::ListenerFilter {
    filter(
        "envoy.filters.listener.http_inspector",
        &listener_filter::http_inspector::HttpInspector::default(),
    )
}

/// The inspectors that a virtual listener's chains need, each on the ports where it is needed.
pub(crate) fn inspectors(chains: &[listener::FilterChain]) -> Vec<listener::ListenerFilter> {
    let needs = needs_by_port(chains);
    let mut filters = Vec::new();
    if needs.values().any(|needs| needs.tls) {
        filters.push(limited(tls_inspector(), &needs, |needs| needs.tls));
    }
    if needs.values().any(|needs| needs.http) {
        filters.push(limited(http_inspector(), &needs, |needs| needs.http));
    }
    filters
}

/// What every port needs; port 0 stands for all that have no chains of their own.
fn needs_by_port(chains: &[listener::FilterChain]) -> BTreeMap<u32, Needs> {
    let mut by_port: BTreeMap<u32, Needs> = BTreeMap::new();
    for chain in chains {
        let Some(chain_match) = &chain.filter_chain_match else {
            continue;
        };
        let port = chain_match.destination_port.map_or(0, |port| port.value);
        let needs = by_port.entry(port).or_default();
        needs.tls |= chain_match.transport_protocol == "tls";
        needs.http |= chain_match
            .application_protocols
            .iter()
            .any(|alpn| matches!(&**alpn, "http/1.1" | "h2c"));
    }
    by_port
}

fn limited(
    mut filter: listener::ListenerFilter,
    needs: &BTreeMap<u32, Needs>,
    wanted: fn(&Needs) -> bool,
) -> listener::ListenerFilter {
    let by_default = needs.get(&0).is_some_and(wanted);
    let exceptions: Vec<u32> = needs
        .iter()
        .filter(|(port, needs)| **port != 0 && wanted(needs) != by_default)
        .map(|(port, _)| *port)
        .collect();
    filter.filter_disabled = match (by_default, any_port_of(&exceptions)) {
        (true, None) => None,
        (true, Some(exceptions)) => Some(exceptions),
        (false, None) => Some(predicate(Rule::AnyMatch(true))),
        (false, Some(exceptions)) => Some(predicate(Rule::NotMatch(Box::new(exceptions)))),
    };
    filter
}

fn any_port_of(ports: &[u32]) -> Option<Predicate> {
    let range = |port: &u32| {
        let start = port.cast_signed();
        predicate(Rule::DestinationPortRange(types::Int32Range {
            start,
            end: start + 1,
        }))
    };
    match ports {
        [] => None,
        [port] => Some(range(port)),
        ports => {
            let rules = ports.iter().map(range).collect();
            Some(predicate(Rule::OrMatch(MatchSet { rules })))
        }
    }
}

fn predicate(rule: Rule) -> Predicate {
    Predicate { rule: Some(rule) }
}

fn filter<M: Message + Name>(name: &str, config: &M) -> listener::ListenerFilter {
    listener::ListenerFilter {
        name: name.to_owned(),
        config_type: Some(listener::listener_filter::ConfigType::TypedConfig(pack(
            config,
        ))),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire;

    fn chain(port: u32, transport: &str, alpn: &[&str]) -> listener::FilterChain {
        listener::FilterChain {
            filter_chain_match: Some(listener::FilterChainMatch {
                destination_port: (port != 0).then(|| wire::number(port)),
                transport_protocol: transport.into(),
                application_protocols: alpn.iter().map(ToString::to_string).collect(),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    #[test]
    fn an_inspector_is_off_where_no_chain_needs_it() {
        let chains = [
            chain(0, "tls", &[]),
            chain(0, "raw_buffer", &["http/1.1", "h2c"]),
            chain(9000, "tls", &["istio"]),
            chain(9001, "raw_buffer", &[]),
        ];
        let filters = inspectors(&chains);
        let port = |port| {
            let range = types::Int32Range {
                start: port,
                end: port + 1,
            };
            predicate(Rule::DestinationPortRange(range))
        };
        assert_eq!(filters[0].filter_disabled, Some(port(9001)));
        let both = MatchSet {
            rules: vec![port(9000), port(9001)],
        };
        assert_eq!(
            filters[1].filter_disabled,
            Some(predicate(Rule::OrMatch(both)))
        );
    }

    #[test]
    fn an_inspector_that_one_port_needs_is_off_elsewhere() {
        let filters = inspectors(&[chain(0, "", &[]), chain(9000, "tls", &[])]);
        let range = types::Int32Range {
            start: 9000,
            end: 9001,
        };
        let only = predicate(Rule::DestinationPortRange(range));
        assert_eq!(filters.len(), 1);
        assert_eq!(
            filters[0].filter_disabled,
            Some(predicate(Rule::NotMatch(Box::new(only))))
        );
    }

    #[test]
    fn nothing_is_inspected_without_need() {
        assert_eq!(inspectors(&[chain(9000, "raw_buffer", &[])]), []);
    }
}
