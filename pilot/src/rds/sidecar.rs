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

/// The services that speak HTTP on a port, in the order of hosts.
pub(crate) fn http_services(scope: &Scope, port: u16) -> impl Iterator<Item = &Arc<Service>> {
    scope.services().filter(move |service| {
        let http = service.port(port).is_some_and(|p| p.protocol.is_http());
        http && scope.allows_port(service, port)
    })
}

/// The names of a service that no earlier one has taken, unless that is none.
pub(crate) fn free_domains(
    scope: &Scope,
    service: &Service,
    taken: &mut BTreeSet<String>,
) -> Option<Vec<String>> {
    let mut domains = domains(scope, service);
    domains.retain(|domain| taken.insert(domain.clone()));
    (!domains.is_empty()).then_some(domains)
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

/// The virtual host of a service's port.
pub(crate) fn service_host(
    scope: &Scope,
    service: &Arc<Service>,
    port: u16,
    domains: Arc<Vec<String>>,
) -> Inputs {
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
    Inputs {
        name,
        domains,
        source,
        https_redirect: false,
    }
}

/// Virtual hosts on a port for hosts that only a rule knows.
pub(crate) fn unregistered_hosts(
    scope: &Scope,
    port: u16,
    taken: &mut BTreeSet<String>,
) -> Vec<(Hostname, Inputs)> {
    let mut hosts = Vec::new();
    if port != DEFAULT_HTTP_PORT {
        return hosts;
    }
    for (host, object) in scope.virtual_services().mesh_hosts() {
        let registered = scope.covered(host).next().is_some();
        if registered || object.http.is_empty() || !taken.insert(host.to_string()) {
            continue;
        }
        hosts.push((host.clone(), unregistered_host(scope, host, object)));
    }
    hosts
}

/// The virtual host of a host that only a rule knows.
pub(crate) fn unregistered_host(
    scope: &Scope,
    host: &Hostname,
    object: &Arc<VirtualService>,
) -> Inputs {
    Inputs {
        name: format!("{host}:{DEFAULT_HTTP_PORT}"),
        domains: Arc::new(vec![host.to_string()]),
        source: rules(scope, std::slice::from_ref(object), DEFAULT_HTTP_PORT),
        https_redirect: false,
    }
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

/// What happens to requests for other hosts.
pub(crate) fn catch_all(scope: &Scope) -> Inputs {
    let (name, source) = match scope.outbound_policy {
        OutboundPolicy::AllowAny => (names::ALLOW_ANY, Source::AllowAny),
        OutboundPolicy::RegistryOnly => (names::BLOCK_ALL, Source::BlockAll),
    };
    Inputs {
        name: name.to_owned(),
        domains: Arc::new(vec!["*".to_owned()]),
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
