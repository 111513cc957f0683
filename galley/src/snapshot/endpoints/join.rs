//! Joining addresses with what is known about the pod or machine behind them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use mesh_api::endpoint::{Endpoint, EndpointAddress, EndpointHealth, ServiceEndpoints};
use mesh_api::labels::Labels;
use mesh_api::locality::Locality;
use mesh_api::port::TargetPort;
use mesh_api::resource::ResourceKey;
use mesh_api::service::{Service, ServicePort};
use mesh_api::workload::Workload;

use super::members::Members;
use super::slices::SliceIndex;
use crate::kinds::Model;
use crate::kinds::endpoint_slice::{Slice, SliceEndpoint};
use crate::kinds::pod::Pod;
use crate::kinds::service::external_name;
use crate::kinds::service_entry::ServiceEntry;
use crate::kinds::workload_entry::Machine;
use crate::object::Object;
use crate::store::Store;

const REGION: &str = "topology.kubernetes.io/region";
const ZONE: &str = "topology.kubernetes.io/zone";
const SUBZONE: &str = "topology.istio.io/subzone";

/// The endpoints of one service of an object.
pub(super) fn endpoints(
    object: &Object,
    service: &Service,
    slices: &SliceIndex,
    members: &Members,
    store: &Store,
) -> ServiceEndpoints {
    let mut endpoints = match &object.model {
        Model::ServiceEntry(entry) => {
            let members = members.of_entry(&object.meta.key);
            let members: Vec<&Object> = members
                .filter_map(|key| store.get(key).map(|object| &**object))
                .collect();
            of_entry(entry, service, &members, store)
        }
        Model::Service(_) => match external_name(&object.document) {
            Some(name) => of_alias(&name, service),
            None => of_slices(&object.meta.key, service, slices, store),
        },
        _ => ServiceEndpoints::default(),
    };
    for list in endpoints.by_port.values_mut() {
        // The same address may stand in two slices while it moves between them.
        list.sort_by(|a, b| (&a.address, a.port).cmp(&(&b.address, b.port)));
        list.dedup_by(|a, b| a.address == b.address && a.port == b.port);
    }
    endpoints
}

/// A pod or machine as a workload; nothing for pods that have ended.
pub(super) fn workload(object: &Object, store: &Store) -> Option<Workload> {
    match &object.model {
        Model::Pod(pod) if !pod.finished => {
            let mut workload = pod.workload.clone();
            workload.locality = locality(pod, store);
            Some(workload)
        }
        Model::Machine(machine) => machine_workload(machine, object, store),
        _ => None,
    }
}

fn machine_workload(machine: &Machine, object: &Object, store: &Store) -> Option<Workload> {
    let Some(EndpointAddress::Ip(address)) = machine.address else {
        return None;
    };
    let namespace = object.meta.namespace();
    let identity = match &machine.identity {
        Some(identity) => identity.clone(),
        None => {
            let domain = store.mesh().trust_domain.clone();
            mesh_api::identity::SpiffeId::new(domain, namespace, "default").ok()?
        }
    };
    Some(Workload {
        name: machine.name.clone(),
        namespace: namespace.into(),
        addresses: vec![address],
        labels: machine.labels.clone(),
        identity,
        node: "".into(),
        locality: machine.locality.clone(),
        workload_name: machine.name.clone(),
        canonical_name: machine.canonical_name(),
        canonical_revision: machine.canonical_revision(),
        mtls_capable: machine.mtls_capable(),
        named_ports: Vec::new(),
        host_network: false,
        ready: true,
    })
}

fn of_slices(
    key: &ResourceKey,
    service: &Service,
    slices: &SliceIndex,
    store: &Store,
) -> ServiceEndpoints {
    let mut by_port: BTreeMap<u16, Vec<Arc<Endpoint>>> = service
        .ports
        .iter()
        .map(|port| (port.number, Vec::new()))
        .collect();
    for slice in slices.of_service(key) {
        for entry in &slice.endpoints {
            let health = match entry.health {
                EndpointHealth::Unhealthy if service.publish_not_ready => EndpointHealth::Healthy,
                EndpointHealth::Unhealthy => continue,
                health => health,
            };
            let behind = Behind {
                entry,
                pod: pod_of(slice, entry, store),
                namespace: &slice.namespace,
                store,
            };
            for port in &service.ports {
                let Some(number) = slice_port(slice, port) else {
                    continue;
                };
                let list = by_port.entry(port.number).or_default();
                let addresses = entry.addresses.iter();
                list.extend(addresses.map(|address| behind.endpoint(*address, number, health)));
            }
        }
    }
    ServiceEndpoints { by_port }
}

/// Ports are joined by name, as kube-proxy does.
fn slice_port(slice: &Slice, port: &ServicePort) -> Option<u16> {
    slice
        .ports
        .iter()
        .find(|(name, _)| *name == port.name)
        .map(|(_, number)| *number)
}

fn pod_of<'a>(slice: &Slice, entry: &SliceEndpoint, store: &'a Store) -> Option<&'a Pod> {
    let key = ResourceKey::new("Pod", &slice.namespace, entry.pod.as_deref()?);
    match &store.get(&key)?.model {
        Model::Pod(pod) => Some(pod),
        _ => None,
    }
}

/// What the endpoints of one pod have in common.
#[derive(Clone, Copy)]
struct Behind<'a> {
    entry: &'a SliceEndpoint,
    pod: Option<&'a Pod>,
    namespace: &'a Arc<str>,
    store: &'a Store,
}

impl Behind<'_> {
    fn endpoint(&self, address: IpAddr, port: u16, health: EndpointHealth) -> Arc<Endpoint> {
        let workload = self.pod.map(|pod| &pod.workload);
        let text = |value: Option<&Arc<str>>| value.cloned().unwrap_or_else(|| "".into());
        Arc::new(Endpoint {
            address: EndpointAddress::Ip(address),
            port,
            labels: workload.map(|w| w.labels.clone()).unwrap_or_default(),
            locality: match self.pod {
                Some(pod) => locality(pod, self.store),
                None => node_locality(&self.entry.node, &self.entry.zone, self.store),
            },
            weight: 1,
            health,
            mtls_capable: workload.is_some_and(|w| w.mtls_capable),
            identity: workload.map(|w| w.identity.clone()),
            workload: text(workload.map(|w| &w.name)),
            namespace: self.namespace.clone(),
            workload_name: text(workload.map(|w| &w.workload_name)),
            canonical_name: text(workload.map(|w| &w.canonical_name)),
            canonical_revision: text(workload.map(|w| &w.canonical_revision)),
            node: self.entry.node.clone(),
            network: self.pod.map(|pod| pod.network.clone()).unwrap_or_default(),
        })
    }
}

fn locality(pod: &Pod, store: &Store) -> Locality {
    match &pod.own_locality {
        Some(own) => own.clone(),
        None => node_locality(&pod.workload.node, "", store),
    }
}

fn node_locality(node: &str, zone: &str, store: &Store) -> Locality {
    let object = store.get(&ResourceKey::new("Node", "", node));
    let labels = match object.map(|object| &object.model) {
        Some(Model::Node(labels)) => labels.clone(),
        _ => Labels::default(),
    };
    let part = |name| labels.get(name).unwrap_or_default().into();
    let mut locality = Locality {
        region: part(REGION),
        zone: part(ZONE),
        subzone: part(SUBZONE),
    };
    if locality.zone.is_empty() {
        locality.zone = zone.into();
    }
    locality
}

/// An alias leads to a name that DNS knows.
fn of_alias(name: &str, service: &Service) -> ServiceEndpoints {
    let Ok(host) = name.parse() else {
        return ServiceEndpoints::default();
    };
    let machine = Machine {
        address: Some(EndpointAddress::Name(host)),
        ..Machine::nameless(service.meta.key.namespace.clone())
    };
    let by_port = service.ports.iter().map(|port| {
        (
            port.number,
            machine.endpoint(port).map(Arc::new).into_iter().collect(),
        )
    });
    ServiceEndpoints {
        by_port: by_port.collect(),
    }
}

fn of_entry(
    entry: &ServiceEntry,
    service: &Service,
    members: &[&Object],
    store: &Store,
) -> ServiceEndpoints {
    let mut endpoints = entry.own_endpoints(service);
    if entry.selector.is_some() {
        for port in &service.ports {
            let list = endpoints.by_port.entry(port.number).or_default();
            // Where both have an address, the machine's counts.
            let machines = members.iter().filter_map(|object| of_machine(object, port));
            list.extend(machines);
            let pods = members
                .iter()
                .filter_map(|object| of_pod(object, port, store));
            list.extend(pods);
        }
    }
    endpoints
}

fn of_machine(object: &Object, port: &ServicePort) -> Option<Arc<Endpoint>> {
    match &object.model {
        Model::Machine(machine) => machine.endpoint(port).map(Arc::new),
        _ => None,
    }
}

fn of_pod(object: &Object, port: &ServicePort, store: &Store) -> Option<Arc<Endpoint>> {
    let Model::Pod(pod) = &object.model else {
        return None;
    };
    let workload = &pod.workload;
    if pod.finished || !workload.ready {
        return None;
    }
    let number = match &port.target {
        TargetPort::Number(number) => number.get(),
        TargetPort::Name(_) => port.number,
    };
    let entry = SliceEndpoint {
        addresses: workload.addresses.clone(),
        health: EndpointHealth::Healthy,
        pod: Some(workload.name.clone()),
        node: workload.node.clone(),
        zone: "".into(),
    };
    let behind = Behind {
        entry: &entry,
        pod: Some(pod),
        namespace: &workload.namespace,
        store,
    };
    let first = workload.addresses.first();
    first.map(|address| behind.endpoint(*address, number, entry.health))
}
