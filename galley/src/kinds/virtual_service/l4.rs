//! `tls[]` and `tcp[]`: rules of connections.

use std::collections::BTreeMap;
use std::net::IpAddr;

use mesh_api::hostname::{Hostname, HostnameSet};
use mesh_api::route::{L4Match, TcpRoute, TlsMatch, TlsRoute};

use super::destination::{WireL4Destination, l4_destinations};
use super::gateway_ref::gateways;
use crate::kinds::findings::Findings;
use crate::kinds::rules::{self, each, some};
use crate::kinds::scope::Scope;
use crate::kinds::wire::wire;
use crate::manifest::path::FieldPath;

wire! {
    WireTlsRoute {
        /// Matches, of which one must apply; in each all conditions must hold. Required.
        r#match: Vec<WireTlsMatch>,
        /// Services that receive the connections, by weight.
        route: Vec<WireL4Destination>,
    }

    #[schemars(extend("required" = ["sniHosts"]))]
    WireTlsMatch {
        /// Server names (SNI), of which one must match. Each must be covered by the hosts of the VirtualService.
        sni_hosts: Vec<String>,
        /// Addresses or ranges (CIDR) that the client connected to.
        destination_subnets: Vec<String>,
        /// Port that the client connected to, of the service or of the gateway.
        port: u32,
        /// Labels that the calling workload must have, all of them. Only for rules of sidecars.
        source_labels: BTreeMap<String, String>,
        /// Gateways that apply the rule, instead of those of the VirtualService.
        gateways: Vec<String>,
        /// Namespace that the calling workload must be in. Only for rules of sidecars.
        source_namespace: String,
    }

    WireTcpRoute {
        /// Matches, of which one must apply; in each all conditions must hold. By default every connection matches.
        r#match: Vec<WireTcpMatch>,
        /// Services that receive the connections, by weight.
        route: Vec<WireL4Destination>,
    }

    WireTcpMatch {
        /// Addresses or ranges (CIDR) that the client connected to.
        destination_subnets: Vec<String>,
        /// Port that the client connected to, of the service or of the gateway.
        port: u32,
        /// Not supported: range of the client's address.
        source_subnet: String,
        /// Labels that the calling workload must have, all of them. Only for rules of sidecars.
        source_labels: BTreeMap<String, String>,
        /// Gateways that apply the rule, instead of those of the VirtualService.
        gateways: Vec<String>,
        /// Namespace that the calling workload must be in. Only for rules of sidecars.
        source_namespace: String,
    }
}

/// `hosts` are those of the VirtualService.
pub(super) fn tls_route(
    wire: &WireTlsRoute,
    hosts: &HostnameSet,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
    findings: &mut Findings<'_>,
) -> Option<TlsRoute> {
    let list = path.field("match");
    if wire.r#match.is_empty() {
        findings
            .error(&list, "a TLS rule needs at least one match")
            .suggest("add match: [{sniHosts: [NAME]}]");
    }
    let matches = each(&wire.r#match, &list, findings, |wire, at, findings| {
        let sni_hosts = sni_hosts(&wire.sni_hosts, hosts, &at.field("sniHosts"), findings);
        let l4 = Conditions {
            destination_subnets: &wire.destination_subnets,
            port: wire.port,
            gateways: &wire.gateways,
            source_labels: &wire.source_labels,
            source_namespace: &wire.source_namespace,
        };
        let l4 = l4.read(at, scope, findings);
        Some(TlsMatch {
            sni_hosts: sni_hosts?,
            l4: l4?,
        })
    });
    let route = l4_destinations(&wire.route, path, scope, findings);
    Some(TlsRoute {
        origin: scope.origin(path),
        matches: matches?,
        route: route?,
    })
}

fn sni_hosts(
    texts: &[String],
    hosts: &HostnameSet,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<Vec<Hostname>> {
    if texts.is_empty() {
        findings.error(path, "at least one SNI host is required");
    }
    each(texts, path, findings, |text, at, findings| {
        if text.parse::<IpAddr>().is_ok() {
            findings.warn(
                at,
                format!("address \"{text}\" never is an SNI name (RFC 6066)"),
            );
            return rules::host(text, at, findings);
        }
        let sni = rules::host(text, at, findings)?;
        if !hosts.covers(&sni) {
            findings
                .error(
                    at,
                    format!("SNI host \"{text}\" is not one of the virtual service's hosts"),
                )
                .suggest("add it to spec.hosts");
        }
        Some(sni)
    })
}

pub(super) fn tcp_route(
    wire: &WireTcpRoute,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
    findings: &mut Findings<'_>,
) -> Option<TcpRoute> {
    let list = path.field("match");
    let matches = each(&wire.r#match, &list, findings, |wire, at, findings| {
        let l4 = Conditions {
            destination_subnets: &wire.destination_subnets,
            port: wire.port,
            gateways: &wire.gateways,
            source_labels: &wire.source_labels,
            source_namespace: &wire.source_namespace,
        };
        let l4 = l4.read(at, scope, findings);
        if !wire.source_subnet.is_empty() {
            findings.refuse_unsupported(
                &at.field("sourceSubnet"),
                "matching by the client's address is not supported",
            );
        }
        l4
    });
    let route = l4_destinations(&wire.route, path, scope, findings);
    Some(TcpRoute {
        origin: scope.origin(path),
        matches: matches?,
        route: route?,
    })
}

/// What both kinds of match have in common.
struct Conditions<'a> {
    destination_subnets: &'a [String],
    port: u32,
    gateways: &'a [String],
    source_labels: &'a BTreeMap<String, String>,
    source_namespace: &'a str,
}

impl Conditions<'_> {
    fn read(
        &self,
        path: &FieldPath<'_>,
        scope: &Scope<'_>,
        findings: &mut Findings<'_>,
    ) -> Option<L4Match> {
        let subnets = path.field("destinationSubnets");
        let subnets = rules::subnets(self.destination_subnets, &subnets, findings);
        let port = rules::port_or_unset(self.port, &path.field("port"), findings);
        let gateways = gateways(self.gateways, &path.field("gateways"), scope, findings);
        let labels = path.field("sourceLabels");
        let source_labels = rules::labels(self.source_labels, &labels, findings);
        Some(L4Match {
            destination_subnets: subnets?,
            port: port?,
            source_labels,
            source_namespace: some(self.source_namespace),
            gateways: gateways?,
        })
    }
}
