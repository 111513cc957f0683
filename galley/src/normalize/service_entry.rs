//! `ServiceEntry` and `WorkloadEntry`. Source: Istio `serviceentry.convertServices`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use mesh_api::endpoint::{Endpoint, EndpointAddress, EndpointHealth, ServiceEndpoints};
use mesh_api::hostname::Hostname;
use mesh_api::identity::SpiffeId;
use mesh_api::labels::{Labels, Selector};
use mesh_api::locality::Locality;
use mesh_api::port::{Port, Protocol, TargetPort};
use mesh_api::service::{
    Registry, Resolution, Service, ServiceAddress, ServicePort, TrafficDistribution,
};

use super::pod::{CANONICAL_NAME, CANONICAL_REVISION};
use super::{Fault, Scope, labels};
use crate::crd::service_entry as wire;
use crate::manifest::path::FieldPath;

/// Steps that an item of a service stands for: it stays in memory.
const STEPS_PER_ITEM: usize = 16;

/// A ServiceEntry: one service for each host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceEntry {
    /// The services, without service accounts.
    pub services: Vec<Service>,
    /// Endpoints as written.
    pub endpoints: Vec<Machine>,
    /// Chooses pods and WorkloadEntries of the namespace instead.
    pub selector: Option<Selector>,
}

/// A WorkloadEntry, or an endpoint of a ServiceEntry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// The object's name; empty for endpoints of a ServiceEntry.
    pub name: Arc<str>,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Where to connect; `None` if it is reached through its network's gateway.
    pub address: Option<EndpointAddress>,
    /// Ports that differ from the service's, by port name.
    pub ports: BTreeMap<String, u16>,
    /// Labels.
    pub labels: Labels,
    /// The network; empty for the only one.
    pub network: Arc<str>,
    /// Where it runs.
    pub locality: Locality,
    /// Relative share.
    pub weight: u32,
    /// The identity, if a service account is named.
    pub identity: Option<SpiffeId>,
}

pub(super) fn normalize(
    spec: &wire::ServiceEntry,
    scope: &Scope<'_>,
) -> Result<ServiceEntry, Fault> {
    let root = FieldPath::ROOT;
    let path = root.field("spec");
    let hosts = path.field("hosts");
    // Each host is a service with everything that the entry says.
    let each = 1 + spec.addresses.len() + spec.ports.len() + spec.subject_alt_names.len();
    let each = each + spec.export_to.len() + scope.meta.annotations.iter().count();
    let all = spec.hosts.len().saturating_mul(each);
    scope.spend(all.saturating_mul(STEPS_PER_ITEM), &hosts)?;
    let services = spec.hosts.iter().enumerate().map(|(index, host)| {
        // Hosts of a ServiceEntry are registered as written, never expanded.
        let at = hosts.index(index);
        let hostname = host.parse().map_err(|error| scope.fault(&at, error))?;
        service(spec, hostname, &path, scope)
    });
    let list = path.field("endpoints");
    let endpoints = spec.endpoints.iter().enumerate();
    Ok(ServiceEntry {
        services: services.collect::<Result<_, _>>()?,
        endpoints: endpoints
            .map(|(index, endpoint)| machine(endpoint, "", &list.index(index), scope))
            .collect::<Result<_, _>>()?,
        selector: spec
            .workload_selector
            .as_ref()
            .map(|s| Selector::new(labels(&s.labels))),
    })
}

fn service(
    spec: &wire::ServiceEntry,
    hostname: Hostname,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
) -> Result<Service, Fault> {
    let list = path.field("ports");
    let ports = spec.ports.iter().enumerate().map(|(index, port)| {
        let at = list.index(index);
        let number = scope.port(port.number, &at.field("number"))?;
        let target = match port.target_port {
            0 => number,
            target => scope.port(target, &at.field("targetPort"))?,
        };
        Ok(ServicePort {
            number,
            name: port.name.as_str().into(),
            protocol: Protocol::from_text(&port.protocol).unwrap_or(Protocol::Auto),
            target: TargetPort::Number(Port::new(target).expect("the port was checked")),
        })
    });
    let addresses = spec.addresses.iter().enumerate().map(|(index, text)| {
        let list = path.field("addresses");
        address(text).ok_or_else(|| scope.fault(&list.index(index), "not an address or range"))
    });
    Ok(Service {
        meta: scope.meta.clone(),
        name: hostname.as_str().into(),
        hostname,
        registry: Registry::External,
        addresses: addresses.collect::<Result<_, _>>()?,
        ports: ports.collect::<Result<_, Fault>>()?,
        resolution: match spec.resolution {
            wire::Resolution::None => Resolution::Passthrough,
            wire::Resolution::Static => Resolution::Static,
            wire::Resolution::Dns => Resolution::Dns,
            wire::Resolution::DnsRoundRobin => Resolution::DnsRoundRobin,
            wire::Resolution::DynamicDns => Resolution::DynamicDns,
        },
        mesh_external: spec.location == wire::Location::MeshExternal,
        visibility: scope.visibility(&spec.export_to, &scope.mesh.default_service_export_to),
        selector: None,
        subject_alt_names: spec
            .subject_alt_names
            .iter()
            .map(|name| name.as_str().into())
            .collect(),
        service_accounts: Default::default(),
        aliases: Vec::new(),
        publish_not_ready: false,
        node_local: false,
        traffic_distribution: TrafficDistribution::Any,
    })
}

/// A range of one address is that address.
fn address(text: &str) -> Option<ServiceAddress> {
    match text.contains('/') {
        false => text.parse().ok().map(ServiceAddress::Ip),
        true => text.parse::<ipnet::IpNet>().ok().map(|range| {
            match range.prefix_len() == range.max_prefix_len() {
                true => ServiceAddress::Ip(range.addr()),
                false => ServiceAddress::Cidr(range),
            }
        }),
    }
}

pub(super) fn normalize_workload(
    spec: &wire::WorkloadEntry,
    scope: &Scope<'_>,
) -> Result<Machine, Fault> {
    machine(
        spec,
        scope.meta.name(),
        &FieldPath::ROOT.field("spec"),
        scope,
    )
}

fn machine(
    wire: &wire::WorkloadEntry,
    name: &str,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
) -> Result<Machine, Fault> {
    let address = match wire.address.as_str() {
        "" => None,
        text => Some(
            match (text.strip_prefix("unix://"), text.parse::<IpAddr>()) {
                (Some(socket), _) => EndpointAddress::Unix(socket.into()),
                (None, Ok(address)) => EndpointAddress::Ip(address),
                (None, Err(_)) => EndpointAddress::Name(
                    text.parse()
                        .map_err(|error| scope.fault(&path.field("address"), error))?,
                ),
            },
        ),
    };
    let ports = wire.ports.iter().map(|(name, number)| {
        Ok((
            name.clone(),
            scope.port(*number, &path.field("ports").field(name))?,
        ))
    });
    let account = wire.service_account.as_str();
    let identity = (!account.is_empty()).then(|| {
        SpiffeId::new(
            scope.mesh.trust_domain.clone(),
            scope.meta.namespace(),
            account,
        )
        .map_err(|error| scope.fault(&path.field("serviceAccount"), error))
    });
    Ok(Machine {
        name: name.into(),
        namespace: scope.meta.key.namespace.clone(),
        address,
        ports: ports.collect::<Result<_, _>>()?,
        labels: labels(&wire.labels),
        network: wire.network.as_str().into(),
        locality: wire.locality.parse().expect("any text is a locality"),
        weight: wire.weight.max(1),
        identity: identity.transpose()?,
    })
}

impl Machine {
    /// A machine of which nothing is known.
    pub(crate) fn nameless(namespace: Arc<str>) -> Self {
        Self {
            name: "".into(),
            namespace,
            address: None,
            ports: BTreeMap::new(),
            labels: Labels::default(),
            network: "".into(),
            locality: Locality::default(),
            weight: 1,
            identity: None,
        }
    }

    /// The service it belongs to, by its labels.
    pub(crate) fn canonical_name(&self) -> Arc<str> {
        let label = CANONICAL_NAME.iter().find_map(|name| self.labels.get(name));
        label.unwrap_or(&self.name).into()
    }

    /// The revision, by its labels.
    pub(crate) fn canonical_revision(&self) -> Arc<str> {
        let label = CANONICAL_REVISION
            .iter()
            .find_map(|name| self.labels.get(name));
        label.unwrap_or("latest").into()
    }

    /// Has a proxy that accepts mesh mTLS.
    pub(crate) fn mtls_capable(&self) -> bool {
        self.labels.get("security.istio.io/tlsMode") == Some("istio")
    }

    /// This machine as an endpoint of a service's port.
    pub(crate) fn endpoint(&self, port: &ServicePort) -> Option<Endpoint> {
        let target = match &port.target {
            TargetPort::Number(number) => number.get(),
            TargetPort::Name(_) => port.number,
        };
        Some(Endpoint {
            address: self.address.clone()?,
            port: self.ports.get(&*port.name).copied().unwrap_or(target),
            labels: self.labels.clone(),
            locality: self.locality.clone(),
            weight: self.weight,
            health: EndpointHealth::Healthy,
            mtls_capable: self.mtls_capable(),
            identity: self.identity.clone(),
            workload: "".into(),
            namespace: self.namespace.clone(),
            workload_name: self.name.clone(),
            canonical_name: self.canonical_name(),
            canonical_revision: self.canonical_revision(),
            node: "".into(),
            network: self.network.clone(),
        })
    }
}

impl ServiceEntry {
    /// Endpoints that the entry itself gives for one of its services: those written,
    /// or the host's own name where DNS finds them.
    pub(crate) fn own_endpoints(&self, service: &Service) -> ServiceEndpoints {
        let by_name = matches!(
            service.resolution,
            Resolution::Dns | Resolution::DnsRoundRobin
        );
        let host = Machine {
            address: Some(EndpointAddress::Name(service.hostname.clone())),
            ..Machine::nameless(service.meta.key.namespace.clone())
        };
        let host = [host];
        let machines = match self.endpoints.is_empty() && self.selector.is_none() && by_name {
            true => &host[..],
            false => &self.endpoints[..],
        };
        let by_port = service.ports.iter().map(|port| {
            let endpoints = machines.iter().filter_map(|machine| machine.endpoint(port));
            (port.number, endpoints.map(Arc::new).collect())
        });
        ServiceEndpoints {
            by_port: by_port.collect(),
        }
    }
}
