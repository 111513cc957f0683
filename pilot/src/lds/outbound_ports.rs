//! Which outbound listeners a scope needs: from services and their rules to listener inputs.
//!
//! HTTP services share the listener of their port and are told apart by host. Others have a
//! listener at each of their addresses; those without an address share their port's listener and
//! are told apart by server name, or by address range.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use mesh_api::endpoint::{EndpointAddress, ServiceEndpoints};
use mesh_api::hostname::Hostname;
use mesh_api::port::Protocol;
use mesh_api::route::{GatewayRef, L4Match, VirtualService, WeightedDestination};
use mesh_api::service::{Service, ServiceAddress, ServicePort};
use mesh_api::traffic_policy::load_balancer::{Algorithm, HashKey};

use super::outbound::{Chain, Inputs, unknown_cluster};
use super::{Common, tcp_proxy};
use crate::names;
use crate::rds::Upstream;
use crate::rds::sidecar::http_ports;
use crate::scope::Scope;

/// All addresses.
const WILDCARD: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// The listeners of a scope, in the order of addresses and ports. `endpoints` finds the pods of
/// services without an address.
pub(crate) fn listeners(
    scope: &Scope,
    common: &Common,
    endpoints: impl Fn(&Service) -> Option<Arc<ServiceEndpoints>>,
) -> Vec<Inputs> {
    let mut listeners = Listeners {
        scope,
        common,
        by_address: BTreeMap::new(),
    };
    for port in http_ports(scope) {
        listeners.add(
            WILDCARD,
            port,
            Chain::Http {
                routes: port.to_string(),
            },
        );
    }
    for service in scope.services() {
        for port in &service.ports {
            let other = !port.protocol.is_http() && port.protocol != Protocol::Udp;
            if other && scope.allows_port(service, port.number) {
                listeners.add_service_port(service, port, &endpoints);
            }
        }
    }
    listeners.by_address.into_values().collect()
}

struct Listeners<'s> {
    scope: &'s Scope,
    common: &'s Common,
    by_address: BTreeMap<(IpAddr, u16), Inputs>,
}

impl Listeners<'_> {
    fn add_service_port(
        &mut self,
        service: &Arc<Service>,
        port: &ServicePort,
        endpoints: impl Fn(&Service) -> Option<Arc<ServiceEndpoints>>,
    ) {
        let mut ranges = Vec::new();
        let mut ips = Vec::new();
        for address in &service.addresses {
            match address {
                ServiceAddress::Ip(ip) => ips.push(*ip),
                ServiceAddress::Cidr(range) => ranges.push(*range),
            }
        }
        if service.is_headless() {
            ips = endpoints(service)
                .map(|e| pod_addresses(&e, port.number))
                .unwrap_or_default();
            if ips.is_empty() {
                return;
            }
        }
        let (chains, fallback) = self.chains(service, port);
        for ip in &ips {
            for chain in chains.clone() {
                self.add(*ip, port.number, chain);
            }
            self.set_fallback(*ip, port.number, fallback.clone());
        }
        if ips.is_empty() || !ranges.is_empty() {
            for chain in wildcard_chains(service, port, chains, fallback, &ranges) {
                self.add(WILDCARD, port.number, chain);
            }
        }
    }

    /// The chains of a port at an address of its own, and what takes the rest.
    fn chains(
        &self,
        service: &Arc<Service>,
        port: &ServicePort,
    ) -> (Vec<Chain>, tcp_proxy::Options) {
        let mut chains = Vec::new();
        if port.protocol.is_auto() {
            let routes = format!("{}:{}", service.hostname, port.number);
            chains.push(Chain::Http { routes });
        }
        let object = self.scope.virtual_services().of_host(&service.hostname);
        if let Some(object) = object {
            chains.extend(self.tls_chains(object, port.number));
        }
        let tcp = object.and_then(|object| self.tcp_route(object, port.number, &mut chains));
        (
            chains,
            tcp.unwrap_or_else(|| self.to_service(service, port.number)),
        )
    }

    /// A rule's chains by server name.
    fn tls_chains(&self, object: &VirtualService, port: u16) -> Vec<Chain> {
        let mut chains = Vec::new();
        for rule in &object.tls {
            for one in rule
                .matches
                .iter()
                .filter(|one| self.is_meant(object, &one.l4, port))
            {
                chains.push(Chain::Tls {
                    server_names: one.sni_hosts.iter().map(server_name).collect(),
                    ranges: one.l4.destination_subnets.clone(),
                    proxy: self.to_destinations(object, &rule.route, port),
                });
            }
        }
        chains
    }

    /// A rule's route for everything; routes for some addresses become chains.
    fn tcp_route(
        &self,
        object: &VirtualService,
        port: u16,
        chains: &mut Vec<Chain>,
    ) -> Option<tcp_proxy::Options> {
        for rule in &object.tcp {
            let any = L4Match::default();
            let matches: Vec<&L4Match> = if rule.matches.is_empty() {
                vec![&any]
            } else {
                rule.matches.iter().collect()
            };
            for one in matches
                .into_iter()
                .filter(|one| self.is_meant(object, one, port))
            {
                let proxy = self.to_destinations(object, &rule.route, port);
                if one.destination_subnets.is_empty() {
                    return Some(proxy);
                }
                chains.push(Chain::Tcp {
                    ranges: one.destination_subnets.clone(),
                    proxy,
                });
            }
        }
        None
    }

    fn is_meant(&self, object: &VirtualService, one: &L4Match, port: u16) -> bool {
        let gateways = if one.gateways.is_empty() {
            &object.gateways
        } else {
            &one.gateways
        };
        gateways.contains(&GatewayRef::Mesh)
            && one.port.is_none_or(|number| number == port)
            && self
                .scope
                .is_client(&one.source_labels, one.source_namespace.as_deref())
    }

    fn to_service(&self, service: &Service, port: u16) -> tcp_proxy::Options {
        let cluster = names::outbound_cluster(port, "", &service.hostname);
        with_policy(
            self.scope,
            tcp_proxy::Options::to(&cluster),
            service,
            None,
            port,
        )
    }

    fn to_destinations(
        &self,
        object: &VirtualService,
        destinations: &[WeightedDestination],
        port: u16,
    ) -> tcp_proxy::Options {
        to_destinations(self.scope, object, destinations, port)
    }

    fn entry(&mut self, ip: IpAddr, port: u16) -> &mut Inputs {
        self.by_address.entry((ip, port)).or_insert_with(|| Inputs {
            ip,
            port,
            chains: Vec::new(),
            fallback: tcp_proxy::Options::to(unknown_cluster(self.scope.outbound_policy)),
            detection_timeout: self.scope.mesh.protocol_detection_timeout,
            common: self.common.clone(),
        })
    }

    /// Adds a chain unless an earlier one takes the same connections.
    fn add(&mut self, ip: IpAddr, port: u16, chain: Chain) {
        let chains = &mut self.entry(ip, port).chains;
        if !chains.iter().any(|earlier| conflicts(earlier, &chain)) {
            chains.push(chain);
        }
    }

    fn set_fallback(&mut self, ip: IpAddr, port: u16, fallback: tcp_proxy::Options) {
        self.entry(ip, port).fallback = fallback;
    }
}

/// The proxy to a rule's destinations.
pub(crate) fn to_destinations(
    scope: &Scope,
    object: &VirtualService,
    destinations: &[WeightedDestination],
    port: u16,
) -> tcp_proxy::Options {
    let upstream = |one: &WeightedDestination| Upstream::of(scope, &one.destination, port).cluster;
    let proxy = match destinations {
        [only] => tcp_proxy::Options::to(&upstream(only)),
        several => {
            let weighted = several.iter().filter(|one| one.weight > 0);
            tcp_proxy::Options {
                destination: tcp_proxy::Destination::Weighted(
                    weighted.map(|one| (upstream(one), one.weight)).collect(),
                ),
                ..tcp_proxy::Options::to(&format!(
                    "{}.{}",
                    object.meta.name(),
                    object.meta.namespace()
                ))
            }
        }
    };
    let Some(first) = destinations.first().map(|one| &one.destination) else {
        return proxy;
    };
    match scope.service(&first.host) {
        Some(service) => with_policy(scope, proxy, service, first.subset.as_deref(), port),
        None => proxy,
    }
}

/// Timers and stickiness that the destination rule gives.
fn with_policy(
    scope: &Scope,
    proxy: tcp_proxy::Options,
    service: &Service,
    subset: Option<&str>,
    port: u16,
) -> tcp_proxy::Options {
    let Some(rule) = scope.rule(service) else {
        return proxy;
    };
    let policy = rule.effective(subset).for_port(port);
    let pool = policy.connection_pool.unwrap_or_default();
    let by_source = policy.load_balancer.is_some_and(|balancer| {
        matches!(balancer.algorithm, Algorithm::ConsistentHash(hash) if hash.key == HashKey::SourceIp)
    });
    tcp_proxy::Options {
        idle_timeout: pool.tcp_idle_timeout,
        max_duration: pool.max_connection_duration,
        hash_source_ip: by_source,
        ..proxy
    }
}

/// The chains of a port without an address, on its port's listener: TLS is known by the
/// service's name, bytes by their range, or else taken whole.
fn wildcard_chains(
    service: &Service,
    port: &ServicePort,
    mut chains: Vec<Chain>,
    fallback: tcp_proxy::Options,
    ranges: &[ipnet::IpNet],
) -> Vec<Chain> {
    if ranges.is_empty() && (port.protocol.is_tls() || port.protocol.is_auto()) {
        let own = server_name(&service.hostname);
        let ruled = chains.iter().any(
            |chain| matches!(chain, Chain::Tls { server_names, .. } if server_names.contains(&own)),
        );
        if !ruled {
            let server_names = vec![own];
            chains.push(Chain::Tls {
                server_names,
                ranges: Vec::new(),
                proxy: fallback,
            });
        }
    } else {
        chains.push(Chain::Tcp {
            ranges: ranges.to_vec(),
            proxy: fallback,
        });
    }
    // HTTP on a shared listener is routed by the port's configuration.
    chains.retain(|chain| !matches!(chain, Chain::Http { .. }));
    chains
}

fn pod_addresses(endpoints: &ServiceEndpoints, port: u16) -> Vec<IpAddr> {
    let addresses = endpoints.port(port).iter().filter(|e| e.port == port);
    addresses
        .filter_map(|endpoint| match endpoint.address {
            EndpointAddress::Ip(ip) => Some(ip),
            _ => None,
        })
        .collect()
}

/// Envoy's form of a host in a server-name match.
pub(crate) fn server_name(host: &Hostname) -> String {
    host.to_string()
}

fn conflicts(earlier: &Chain, later: &Chain) -> bool {
    match (earlier, later) {
        (Chain::Http { .. }, Chain::Http { .. }) => true,
        (Chain::Tcp { ranges: a, .. }, Chain::Tcp { ranges: b, .. }) => {
            a == b || a.iter().any(|range| b.contains(range))
        }
        (
            Chain::Tls {
                server_names: a,
                ranges: ra,
                ..
            },
            Chain::Tls {
                server_names: b,
                ranges: rb,
                ..
            },
        ) => {
            a.iter().any(|name| b.contains(name)) && (ra == rb || ra.iter().any(|r| rb.contains(r)))
        }
        _ => false,
    }
}
