//! Route configurations of sidecars: one for each HTTP port in the mesh, and one for each service
//! whose protocol is to be found out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mesh_api::hostname::Hostname;
use mesh_api::mesh_config::OutboundPolicy;
use mesh_api::route::{Destination, HttpAction, VirtualService};
use mesh_api::service::{Service, ServiceAddress};

use super::Upstream;
use super::virtual_host::{Client, Inputs, Rules, ServiceRoute, Source};
use crate::names;
use crate::scope::Scope;
use crate::shared::Shared;

/// Where rules for hosts that no service has are served: the port of HTTP without a port.
const DEFAULT_HTTP_PORT: u16 = 80;

/// The virtual hosts of a port's route configuration, in order.
pub(crate) fn port_hosts(scope: &Scope, port: u16) -> Vec<Inputs> {
    let mut hosts = Vec::new();
    let mut taken = BTreeSet::new();
    for service in scope.services() {
        let http = service.port(port).is_some_and(|p| p.protocol.is_http());
        if http && scope.allows_port(service, port) {
            hosts.extend(service_host(scope, service, port, &mut taken));
        }
    }
    if port == DEFAULT_HTTP_PORT {
        hosts.extend(unregistered_hosts(scope, &mut taken));
    }
    hosts.push(catch_all(scope));
    hosts
}

/// The virtual hosts of a single service's route configuration.
pub(crate) fn sniffed_hosts(scope: &Scope, service: &Arc<Service>, port: u16) -> Vec<Inputs> {
    let mut hosts: Vec<Inputs> = service_host(scope, service, port, &mut BTreeSet::new())
        .into_iter()
        .collect();
    hosts.push(catch_all(scope));
    hosts
}

/// The HTTP ports of a scope.
pub(crate) fn http_ports(scope: &Scope) -> BTreeSet<u16> {
    let mut ports = BTreeSet::new();
    for service in scope.services() {
        let http = service.ports.iter().filter(|port| port.protocol.is_http());
        ports.extend(
            http.map(|p| p.number)
                .filter(|port| scope.allows_port(service, *port)),
        );
    }
    let unregistered = scope
        .virtual_services()
        .mesh_hosts()
        .any(|(host, object)| !object.http.is_empty() && scope.service(host).is_none());
    if unregistered {
        ports.insert(DEFAULT_HTTP_PORT);
    }
    ports
}

fn service_host(
    scope: &Scope,
    service: &Arc<Service>,
    port: u16,
    taken: &mut BTreeSet<String>,
) -> Option<Inputs> {
    let mut domains = domains(scope, service);
    domains.retain(|domain| taken.insert(domain.clone()));
    if domains.is_empty() {
        return None;
    }
    let name = format!("{}:{port}", service.hostname);
    let object = scope.virtual_services().of_host(&service.hostname);
    let source = match object.filter(|object| !object.http.is_empty()) {
        Some(object) => rules(scope, std::slice::from_ref(object), port),
        None => {
            let destination = Destination {
                host: service.hostname.clone(),
                subset: None,
                port: Some(port),
            };
            Source::Service(Box::new(ServiceRoute {
                upstream: Upstream::of(scope, &destination, port),
                operation: name.clone(),
                retry: scope.mesh.default_http_retry.clone(),
            }))
        }
    };
    Some(Inputs {
        name,
        domains,
        source,
        https_redirect: false,
    })
}

/// Hosts that only a rule knows.
fn unregistered_hosts(scope: &Scope, taken: &mut BTreeSet<String>) -> Vec<Inputs> {
    let mut hosts = Vec::new();
    for (host, object) in scope.virtual_services().mesh_hosts() {
        let registered = scope
            .services()
            .any(|service| host.covers(&service.hostname));
        if registered || object.http.is_empty() || !taken.insert(host.to_string()) {
            continue;
        }
        hosts.push(Inputs {
            name: format!("{host}:{DEFAULT_HTTP_PORT}"),
            domains: vec![host.to_string()],
            source: rules(scope, std::slice::from_ref(object), DEFAULT_HTTP_PORT),
            https_redirect: false,
        });
    }
    hosts
}

fn rules(scope: &Scope, objects: &[Arc<VirtualService>], port: u16) -> Source {
    let client = Client {
        port,
        gateways: Vec::new(),
        labels: scope.key.labels.clone(),
        namespace: scope.key.namespace.clone(),
        tls: false,
    };
    Source::Rules(Box::new(Rules {
        objects: objects.iter().map(Shared::from).collect(),
        upstreams: upstreams(scope, objects, port),
        retry: scope.mesh.default_http_retry.clone(),
        client,
    }))
}

/// What every destination that the objects mention means.
pub(super) fn upstreams(
    scope: &Scope,
    objects: &[Arc<VirtualService>],
    port: u16,
) -> Vec<(Destination, Upstream)> {
    let mut upstreams: Vec<(Destination, Upstream)> = Vec::new();
    for rule in objects.iter().flat_map(|object| &object.http) {
        let routed = match &rule.action {
            HttpAction::Route(destinations) => destinations.as_slice(),
            _ => &[],
        };
        let routed = routed.iter().map(|weighted| &weighted.destination);
        let shadows = rule.mirrors.iter().map(|mirror| &mirror.destination);
        for destination in routed.chain(shadows) {
            if upstreams.iter().all(|(known, _)| known != destination) {
                upstreams.push((destination.clone(), Upstream::of(scope, destination, port)));
            }
        }
    }
    upstreams
}

fn catch_all(scope: &Scope) -> Inputs {
    let (name, source) = match scope.outbound_policy {
        OutboundPolicy::AllowAny => (names::ALLOW_ANY, Source::AllowAny),
        OutboundPolicy::RegistryOnly => (names::BLOCK_ALL, Source::BlockAll),
    };
    Inputs {
        name: name.to_owned(),
        domains: vec!["*".to_owned()],
        source,
        https_redirect: false,
    }
}

/// The names by which clients of this scope may call a service.
fn domains(scope: &Scope, service: &Service) -> Vec<String> {
    let mut domains = vec![service.hostname.to_string()];
    for alias in &service.aliases {
        domains.push(alias.to_string());
    }
    for host in std::iter::once(&service.hostname).chain(&service.aliases) {
        domains.extend(short_names(scope, host));
    }
    if service.is_headless() {
        // Pods of a StatefulSet have names below the service's.
        let below: Vec<_> = domains.iter().map(|domain| format!("*.{domain}")).collect();
        domains.extend(below);
    }
    for address in &service.addresses {
        if let ServiceAddress::Ip(ip) = address {
            domains.push(if ip.is_ipv6() {
                format!("[{ip}]")
            } else {
                ip.to_string()
            });
        }
    }
    domains
}

/// What DNS search domains let a client leave out: `reviews.default.svc`, `reviews.default`, and
/// `reviews` in the same namespace.
fn short_names(scope: &Scope, host: &Hostname) -> Vec<String> {
    let suffix = format!(".svc.{}", scope.mesh.cluster_domain);
    let Some((name, namespace)) = host
        .as_str()
        .strip_suffix(&suffix)
        .and_then(|short| short.rsplit_once('.'))
    else {
        return Vec::new();
    };
    let mut names = Vec::new();
    if namespace == scope.key.namespace {
        names.push(name.to_owned());
    }
    names.push(format!("{name}.{namespace}"));
    names.push(format!("{name}.{namespace}.svc"));
    names
}

/// Services with ports whose protocol is to be found out: HTTP on them is routed by a
/// configuration of their own, `host:port`.
pub(crate) fn sniffed_services(scope: &Scope) -> BTreeMap<String, (Arc<Service>, u16)> {
    let mut sniffed = BTreeMap::new();
    for service in scope.services() {
        for port in service.ports.iter().filter(|port| port.protocol.is_auto()) {
            if scope.allows_port(service, port.number) {
                let name = format!("{}:{}", service.hostname, port.number);
                sniffed.insert(name, (Arc::clone(service), port.number));
            }
        }
    }
    sniffed
}
