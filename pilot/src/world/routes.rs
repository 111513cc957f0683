//! Route configurations of sidecars, virtual host by virtual host.
//!
//! A virtual host knows which services were looked at for it, and a service which virtual hosts
//! looked at it. So a change makes those anew that it concerns, and puts together the
//! configurations that they are in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mesh_api::hostname::Hostname;
use mesh_api::service::Service;
use rpds::RedBlackTreeMapSync;
use xds::delta::SharedResource;

use super::generate::Generate;
use crate::rds;
use crate::rds::virtual_host::Inputs;

/// All virtual hosts. A changed set shares what did not change.
#[derive(Clone, Debug)]
pub(super) struct Routes {
    configurations: RedBlackTreeMapSync<Arc<str>, Hosts>,
    /// By the services that they looked at.
    readers: RedBlackTreeMapSync<Hostname, Arc<BTreeSet<Place>>>,
}

/// The virtual hosts of one route configuration.
type Hosts = RedBlackTreeMapSync<Position, Host>;

/// Where a virtual host is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    configuration: Arc<str>,
    position: Position,
}

/// The order within a configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Position {
    Service(Hostname),
    /// A host that only a rule knows.
    Unregistered(Hostname),
    CatchAll,
}

#[derive(Clone, Debug)]
struct Host {
    resource: SharedResource,
    /// A service's port and the names that its clients use.
    service: Option<(Arc<Service>, u16, Arc<Vec<String>>)>,
    /// The services that were looked at.
    reads: Vec<Hostname>,
}

impl Default for Routes {
    fn default() -> Self {
        Self {
            configurations: RedBlackTreeMapSync::new_sync(),
            readers: RedBlackTreeMapSync::new_sync(),
        }
    }
}

impl Routes {
    /// All virtual hosts of a scope.
    pub(super) fn new(generate: &Generate<'_>) -> Self {
        let scope = generate.scope;
        let mut configurations: BTreeMap<Arc<str>, Vec<(Position, Host)>> = BTreeMap::new();
        let catch_all = |name: &str| {
            let inputs = rds::sidecar::catch_all(scope);
            (Position::CatchAll, host(generate, name, None, inputs))
        };
        for port in rds::sidecar::http_ports(scope) {
            let name = port.to_string();
            let mut taken = BTreeSet::new();
            let mut hosts = Vec::new();
            for service in rds::sidecar::http_services(scope, port) {
                if let Some(domains) = rds::sidecar::free_domains(scope, service, &mut taken) {
                    let host = service_host(generate, &name, service, port, Arc::new(domains));
                    hosts.push((Position::Service(service.hostname.clone()), host));
                }
            }
            for (hostname, inputs) in rds::sidecar::unregistered_hosts(scope, port, &mut taken) {
                let host = host(generate, &name, None, inputs);
                hosts.push((Position::Unregistered(hostname), host));
            }
            hosts.push(catch_all(&name));
            configurations.insert(name.into(), hosts);
        }
        for (name, (service, port)) in rds::sidecar::sniffed_services(scope) {
            let domains = rds::sidecar::free_domains(scope, &service, &mut BTreeSet::new());
            let domains = Arc::new(domains.unwrap_or_default());
            let host = service_host(generate, &name, &service, port, domains);
            let own = (Position::Service(service.hostname.clone()), host);
            configurations.insert(name.as_str().into(), vec![own, catch_all(&name)]);
        }
        Self::of(configurations)
    }

    fn of(configurations: BTreeMap<Arc<str>, Vec<(Position, Host)>>) -> Self {
        let mut routes = Self::default();
        let mut readers: BTreeMap<Hostname, BTreeSet<Place>> = BTreeMap::new();
        for (configuration, hosts) in configurations {
            for (position, host) in &hosts {
                for read in &host.reads {
                    readers.entry(read.clone()).or_default().insert(Place {
                        configuration: Arc::clone(&configuration),
                        position: position.clone(),
                    });
                }
            }
            let hosts = hosts.into_iter().collect();
            routes.configurations.insert_mut(configuration, hosts);
        }
        for (host, places) in readers {
            routes.readers.insert_mut(host, Arc::new(places));
        }
        routes
    }

    /// Where virtual hosts looked at a service.
    pub(super) fn readers(&self, host: &Hostname) -> impl Iterator<Item = &Place> {
        self.readers
            .get(host)
            .into_iter()
            .flat_map(|places| places.iter())
    }

    /// Where a service's own virtual hosts are.
    pub(super) fn of_service(&self, service: &Service) -> Vec<Place> {
        let ports = service.ports.iter();
        let configurations = ports.filter_map(|port| match port.protocol {
            protocol if protocol.is_http() => Some(port.number.to_string()),
            protocol if protocol.is_auto() => Some(format!("{}:{}", service.hostname, port.number)),
            _ => None,
        });
        let place = |configuration: String| Place {
            configuration: configuration.into(),
            position: Position::Service(service.hostname.clone()),
        };
        configurations.map(place).collect()
    }

    /// Makes virtual hosts of services anew. Returns the configurations in which one differs.
    pub(super) fn renew(
        &mut self,
        generate: &Generate<'_>,
        places: BTreeSet<Place>,
    ) -> BTreeSet<Arc<str>> {
        let mut changed = BTreeSet::new();
        for place in places {
            let Some(hosts) = self.configurations.get(&place.configuration) else {
                continue;
            };
            let Some(before) = hosts.get(&place.position).cloned() else {
                continue;
            };
            let Some(after) = again(generate, &place, &before) else {
                continue;
            };
            if after.resource.version() != before.resource.version() {
                changed.insert(Arc::clone(&place.configuration));
            }
            self.replace(place, &before, after);
        }
        changed
    }

    fn replace(&mut self, place: Place, before: &Host, after: Host) {
        for read in before
            .reads
            .iter()
            .filter(|read| !after.reads.contains(read))
        {
            let mut places = self.readers.get(read).cloned().unwrap_or_default();
            Arc::make_mut(&mut places).remove(&place);
            self.readers.insert_mut(read.clone(), places);
        }
        for read in after
            .reads
            .iter()
            .filter(|read| !before.reads.contains(read))
        {
            let mut places = self.readers.get(read).cloned().unwrap_or_default();
            Arc::make_mut(&mut places).insert(place.clone());
            self.readers.insert_mut(read.clone(), places);
        }
        if let Some(hosts) = self.configurations.get(&place.configuration) {
            let hosts = hosts.insert(place.position, after);
            self.configurations.insert_mut(place.configuration, hosts);
        }
    }

    /// The names of all configurations.
    pub(super) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.configurations.keys()
    }

    /// Puts a configuration together.
    pub(super) fn compose(
        &self,
        generate: &Generate<'_>,
        name: &Arc<str>,
    ) -> Option<SharedResource> {
        let hosts = self.configurations.get(name)?;
        let versions = hosts.values().map(|host| host.resource.version()).collect();
        let (generators, work) = generate.caches();
        let cache = &generators.route_configurations;
        Some(cache.get_encoded(work, name, versions, |_| {
            rds::compose(name, hosts.values().map(|host| host.resource.value()))
        }))
    }
}

/// A virtual host made anew.
fn again(generate: &Generate<'_>, place: &Place, before: &Host) -> Option<Host> {
    let name = &place.configuration;
    if let Some((service, port, domains)) = &before.service {
        let domains = Arc::clone(domains);
        return Some(service_host(generate, name, service, *port, domains));
    }
    let Position::Unregistered(hostname) = &place.position else {
        return None;
    };
    let rules = generate.scope.virtual_services();
    let object = rules.of_host(hostname)?;
    let inputs = rds::sidecar::unregistered_host(generate.scope, hostname, object);
    Some(host(generate, name, None, inputs))
}

fn service_host(
    generate: &Generate<'_>,
    configuration: &str,
    service: &Arc<Service>,
    port: u16,
    domains: Arc<Vec<String>>,
) -> Host {
    let inputs = rds::sidecar::service_host(generate.scope, service, port, Arc::clone(&domains));
    let service = (Arc::clone(service), port, domains);
    host(generate, configuration, Some(service), inputs)
}

fn host(
    generate: &Generate<'_>,
    configuration: &str,
    service: Option<(Arc<Service>, u16, Arc<Vec<String>>)>,
    inputs: Inputs,
) -> Host {
    let (generators, work) = generate.caches();
    let mut reads = inputs.destinations();
    reads.extend(
        service
            .iter()
            .map(|(service, _, _)| service.hostname.clone()),
    );
    work.visit(1 + inputs.objects());
    let name = format!("{configuration}/{}", inputs.name);
    let cache = &generators.virtual_hosts;
    Host {
        resource: cache.get(work, &name, inputs, rds::virtual_host::generate),
        service,
        reads,
    }
}
