//! Rules of `VirtualService`. Source: Istio `validation.ValidateVirtualService`.

mod http_action;
mod http_match;
mod http_policy;

pub(super) use self::http_policy::retries;

use mesh_api::hostname::{Hostname, HostnameSet};
use mesh_api::resource::Meta;

use super::{Findings, rules};
use crate::crd::virtual_service::{
    Destination, L4Match, RouteDestination, TcpRoute, TlsMatch, TlsRoute, VirtualService,
};
use crate::manifest::path::FieldPath;

pub(super) fn validate(
    spec: &VirtualService,
    meta: &Meta,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) {
    let applies_to_mesh =
        spec.gateways.is_empty() || spec.gateways.iter().any(|gateway| gateway == "mesh");
    gateways(&spec.gateways, &path.field("gateways"), findings);
    let hosts = hosts(spec, applies_to_mesh, path, findings);
    rules::export_to(&spec.export_to, meta, &path.field("exportTo"), findings);
    if spec.http.is_empty() && spec.tls.is_empty() && spec.tcp.is_empty() {
        findings
            .error(path, "http, tcp or tls must be provided")
            .suggest(
                "add at least one rule, for example http: [{route: [{destination: {host: NAME}}]}]",
            );
    }
    let delegate = spec.hosts.is_empty();
    for (index, route) in spec.http.iter().enumerate() {
        http_action::validate(route, delegate, &path.field("http").index(index), findings);
    }
    unreachable_routes(spec, path, findings);
    for (index, route) in spec.tls.iter().enumerate() {
        tls_route(route, &hosts, &path.field("tls").index(index), findings);
    }
    for (index, route) in spec.tcp.iter().enumerate() {
        tcp_route(route, &path.field("tcp").index(index), findings);
    }
    // Whoever validates asks for the end of the budget when all is done.
    let _ = findings.budget().spend(hosts.compared());
}

/// Returns the hosts that are legal.
fn hosts(
    spec: &VirtualService,
    applies_to_mesh: bool,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> HostnameSet {
    let path = path.field("hosts");
    if spec.hosts.is_empty()
        && !(spec.gateways.is_empty() && spec.tls.is_empty() && spec.tcp.is_empty())
    {
        findings
            .error(
                &path,
                "a virtual service without hosts is a delegate, and may have http rules only",
            )
            .suggest("add the hosts that the rules are for");
    }
    let mut seen = HostnameSet::default();
    for (index, text) in spec.hosts.iter().enumerate() {
        let at = path.index(index);
        if text.parse::<std::net::IpAddr>().is_ok() && applies_to_mesh {
            findings
                .error(
                    &at,
                    format!("address \"{text}\" is allowed only for gateways"),
                )
                .suggest("name the service, or bind the rules to a gateway");
            continue;
        }
        let Some(host) = rules::host(text, &at, findings) else {
            continue;
        };
        if host.is_any() && applies_to_mesh {
            findings
                .error(
                    &at,
                    "wildcard host \"*\" is not allowed for the mesh gateway",
                )
                .suggest("name the host, or bind the rules to a gateway with \"gateways\"");
        }
        if !seen.insert(&host) {
            findings.error(&at, format!("duplicate host \"{host}\""));
        }
    }
    seen
}

/// Rules behind one that matches everything are never used.
fn unreachable_routes(spec: &VirtualService, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    let catch_all = spec.http.iter().position(|route| route.r#match.is_empty());
    let Some(catch_all) = catch_all else {
        return;
    };
    for index in catch_all + 1..spec.http.len() {
        let message = format!("never used: http[{catch_all}] before it matches everything");
        findings.unreachable(&path.field("http").index(index), message);
    }
}

/// `mesh`, a name, or `namespace/name`.
fn gateways(names: &[String], path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    for (index, name) in names.iter().enumerate() {
        let legal = match name.split_once('/') {
            Some((namespace, name)) => {
                rules::is_dns_label(namespace) && name.parse::<Hostname>().is_ok()
            }
            None => name.parse::<Hostname>().is_ok(),
        };
        if !legal {
            findings
                .error(
                    &path.index(index),
                    format!("\"{name}\" is not the name of a gateway"),
                )
                .suggest("write \"mesh\", \"NAME\" or \"NAMESPACE/NAME\"");
        }
    }
}

fn destination(
    destination: Option<&Destination>,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) {
    let at = path.field("destination");
    let Some(destination) = destination else {
        findings
            .error(&at, "a destination is required")
            .suggest("add destination: {host: NAME}");
        return;
    };
    let host_path = at.field("host");
    if destination.host.is_empty() {
        findings.error(&host_path, "the host of the destination is required");
    } else if let Some(host) = rules::host(&destination.host, &host_path, findings)
        && host.is_wildcard()
    {
        findings.error(
            &host_path,
            format!("a destination cannot be the wildcard \"{host}\""),
        );
    }
    if !destination.subset.is_empty() && !rules::is_dns_label(&destination.subset) {
        let message = format!("\"{}\" is not a legal subset name", destination.subset);
        findings.error(&at.field("subset"), message);
    }
    if let Some(port) = &destination.port {
        rules::port(port.number, &at.field("port").field("number"), findings);
    }
}

/// The sum of weights must be above zero as soon as there is a choice.
///
/// Differs from Istio, which takes any weight: above 100 it is nearly always a slip
/// of the finger (`300` for `30`) and shifts traffic without a word.
fn weights(weights: &[u32], path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
    if weights.len() > 1 && total == 0 {
        findings.error(path, "the weights of the destinations add up to 0");
    }
    if total > u64::from(u32::MAX) {
        findings.error(
            path,
            format!("the weights of the destinations add up to {total}"),
        );
    }
    for (index, weight) in weights
        .iter()
        .enumerate()
        .filter(|(_, weight)| **weight > 100)
    {
        let message = format!("weight {weight} is not between 0 and 100");
        let advice = match weights.len() {
            1 => "leave the weight of a single destination out",
            _ => "weights are shares that should add up to 100",
        };
        findings
            .error(&path.index(index).field("weight"), message)
            .suggest(advice);
    }
}

fn routes(routes: &[RouteDestination], path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    let path = path.field("route");
    if routes.is_empty() {
        findings.error(&path, "at least one destination is required");
    }
    for (index, route) in routes.iter().enumerate() {
        destination(route.destination.as_ref(), &path.index(index), findings);
    }
    weights(
        &routes.iter().map(|route| route.weight).collect::<Vec<_>>(),
        &path,
        findings,
    );
}

fn tls_route(
    route: &TlsRoute,
    hosts: &HostnameSet,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) {
    if route.r#match.is_empty() {
        findings
            .error(&path.field("match"), "a TLS rule needs at least one match")
            .suggest("add match: [{sniHosts: [NAME]}]");
    }
    for (index, m) in route.r#match.iter().enumerate() {
        tls_match(m, hosts, &path.field("match").index(index), findings);
    }
    routes(&route.route, path, findings);
}

fn tls_match(m: &TlsMatch, hosts: &HostnameSet, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    let sni_path = path.field("sniHosts");
    if m.sni_hosts.is_empty() {
        findings.error(&sni_path, "at least one SNI host is required");
    }
    for (index, text) in m.sni_hosts.iter().enumerate() {
        let at = sni_path.index(index);
        if text.parse::<std::net::IpAddr>().is_ok() {
            findings.warn(
                &at,
                format!("address \"{text}\" never is an SNI name (RFC 6066)"),
            );
            continue;
        }
        let Some(sni) = rules::host(text, &at, findings) else {
            continue;
        };
        if !hosts.covers(&sni) {
            findings
                .error(
                    &at,
                    format!("SNI host \"{text}\" is not one of the virtual service's hosts"),
                )
                .suggest("add it to spec.hosts");
        }
    }
    l4(&m.destination_subnets, m.port, &m.gateways, path, findings);
    rules::labels(&m.source_labels, &path.field("sourceLabels"), findings);
}

fn tcp_route(route: &TcpRoute, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    for (index, m) in route.r#match.iter().enumerate() {
        tcp_match(m, &path.field("match").index(index), findings);
    }
    routes(&route.route, path, findings);
}

fn tcp_match(m: &L4Match, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    l4(&m.destination_subnets, m.port, &m.gateways, path, findings);
    rules::labels(&m.source_labels, &path.field("sourceLabels"), findings);
    if !m.source_subnet.is_empty() {
        findings.refuse_unsupported(
            &path.field("sourceSubnet"),
            "matching by the client's address is not supported",
        );
    }
}

fn l4(
    subnets: &[String],
    port: u32,
    names: &[String],
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) {
    for (index, subnet) in subnets.iter().enumerate() {
        rules::subnet(
            subnet,
            &path.field("destinationSubnets").index(index),
            findings,
        );
    }
    if port != 0 {
        rules::port(port, &path.field("port"), findings);
    }
    gateways(names, &path.field("gateways"), findings);
}
