//! The order of narrowing, one case per step.

use rstest::rstest;

use super::*;
use std::sync::Arc;

use crate::filter_chain::{FilterChain, Terminal, Transport};

fn chain(name: &str, matches: FilterChainMatch) -> Arc<FilterChain> {
    Arc::new(FilterChain {
        name: name.into(),
        matches,
        tls: None,
        handshake_timeout: None,
        filters: Vec::new(),
        terminal: Terminal::Close,
    })
}

fn any() -> FilterChainMatch {
    FilterChainMatch::default()
}

fn nets(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn names(texts: &[&str]) -> Vec<Box<str>> {
    texts.iter().map(|&text| text.into()).collect()
}

struct Connection {
    destination: &'static str,
    source: &'static str,
    sni: Option<&'static str>,
    transport: Transport,
    alpn: &'static [&'static str],
}

impl Default for Connection {
    fn default() -> Self {
        Self {
            destination: "10.0.0.1:80",
            source: "10.0.0.9:1234",
            sni: None,
            transport: Transport::RawBuffer,
            alpn: &[],
        }
    }
}

fn found(chains: &[Arc<FilterChain>], connection: &Connection) -> Option<String> {
    let source: SocketAddr = connection.source.parse().unwrap();
    let alpn = names(connection.alpn);
    let facts = ConnectionFacts {
        destination: connection.destination.parse().unwrap(),
        direct_source: source.ip(),
        source,
        server_name: connection.sni,
        transport: connection.transport,
        application_protocols: &alpn,
    };
    find(chains, |chain| &chain.matches, &facts).map(|chain| chain.name.to_string())
}

#[rstest]
#[case("10.0.0.1:80", Some("port-and-net"))]
#[case("10.1.0.1:80", None)]
#[case("10.1.0.1:81", Some("net-16"))]
#[case("10.2.0.1:81", Some("net-8"))]
#[case("192.0.2.1:81", Some("any"))]
fn a_specific_port_excludes_chains_without_port(
    #[case] destination: &'static str,
    #[case] expected: Option<&str>,
) {
    let with = |prefixes: &[&str], port| FilterChainMatch {
        destination_prefixes: nets(prefixes),
        destination_port: port,
        ..any()
    };
    let chains = [
        chain("any", any()),
        chain("net-8", with(&["10.0.0.0/8"], None)),
        chain("net-16", with(&["10.1.0.0/16"], None)),
        chain("port-and-net", with(&["10.0.0.0/24"], Some(80))),
    ];
    let connection = Connection {
        destination,
        ..Default::default()
    };
    assert_eq!(found(&chains, &connection).as_deref(), expected);
}

#[rstest]
#[case(Some("a.example.com"), Some("exact"))]
#[case(Some("b.example.com"), Some("wildcard"))]
#[case(Some("c.b.example.com"), Some("longer-wildcard"))]
#[case(Some("example.com"), Some("any"))]
#[case(Some("other.org"), Some("any"))]
#[case(None, Some("any"))]
fn server_names_exact_then_longest_wildcard(
    #[case] sni: Option<&'static str>,
    #[case] expected: Option<&str>,
) {
    let named = |name: &str| FilterChainMatch {
        server_names: names(&[name]),
        ..any()
    };
    let chains = [
        chain("any", any()),
        chain("wildcard", named("*.example.com")),
        chain("longer-wildcard", named("*.b.example.com")),
        chain("exact", named("a.example.com")),
    ];
    let connection = Connection {
        sni,
        transport: Transport::Tls,
        ..Default::default()
    };
    assert_eq!(found(&chains, &connection).as_deref(), expected);
}

#[rstest]
#[case(Transport::Tls, &["istio", "h2"], Some("mesh"))]
#[case(Transport::Tls, &["h2", "istio"], Some("tls-h2"))]
#[case(Transport::Tls, &["http/1.1"], None)]
#[case(Transport::RawBuffer, &["http/1.1"], Some("plain-http"))]
#[case(Transport::RawBuffer, &[], Some("plain"))]
fn transport_then_application_protocol_as_inbound_chains_use_it(
    #[case] transport: Transport,
    #[case] alpn: &'static [&'static str],
    #[case] expected: Option<&str>,
) {
    let with = |transport, alpn: &[&str]| FilterChainMatch {
        transport: Some(transport),
        application_protocols: names(alpn),
        ..any()
    };
    let chains = [
        chain("mesh", with(Transport::Tls, &["istio-http/1.1", "istio"])),
        chain("tls-h2", with(Transport::Tls, &["h2"])),
        chain(
            "plain-http",
            with(Transport::RawBuffer, &["http/1.1", "h2c"]),
        ),
        chain("plain", with(Transport::RawBuffer, &[])),
    ];
    let connection = Connection {
        transport,
        alpn,
        ..Default::default()
    };
    assert_eq!(found(&chains, &connection).as_deref(), expected);
}

#[rstest]
#[case("127.0.0.1:9", Some("local"))]
#[case("10.0.0.1:9", Some("local"))]
#[case("10.0.0.9:9", Some("external-net"))]
#[case("10.0.0.9:77", Some("external-port"))]
#[case("192.0.2.1:9", None)]
fn source_type_then_source_prefix_then_source_port(
    #[case] source: &'static str,
    #[case] expected: Option<&str>,
) {
    let with = |source_type, prefixes: &[&str], ports: &[u16]| FilterChainMatch {
        source_type,
        source_prefixes: nets(prefixes),
        source_ports: ports.to_vec(),
        ..any()
    };
    let chains = [
        chain("local", with(SourceType::SameIpOrLoopback, &[], &[])),
        chain(
            "external-net",
            with(SourceType::External, &["10.0.0.0/8"], &[]),
        ),
        chain(
            "external-port",
            with(SourceType::External, &["10.0.0.0/8"], &[77]),
        ),
        chain("any", with(SourceType::Any, &[], &[])),
    ];
    let connection = Connection {
        source,
        ..Default::default()
    };
    assert_eq!(found(&chains, &connection).as_deref(), expected);
}

#[test]
fn chains_that_match_the_same_connections_are_noticed() {
    let named = |list: &[&str]| FilterChainMatch {
        server_names: names(list),
        ..any()
    };
    assert_eq!(
        overlapping(&[any(), named(&["a", "b"]), named(&["c"])]),
        None
    );
    assert_eq!(
        overlapping(&[any(), named(&["a", "b"]), named(&["c", "b"])]),
        Some((1, 2))
    );
    assert_eq!(overlapping(&[any(), any()]), Some((0, 1)));
}
