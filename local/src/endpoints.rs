//! Services and the pods behind them: cluster addresses, EndpointSlices, DNS names, router rules.
//!
//! Everything here is computed anew from the objects and the pods; comparing with what is written
//! already happens where it is written.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddrV4},
};

use k8s_openapi::{
    api::core::v1::{Pod, Service, ServicePort},
    apimachinery::pkg::util::intstr::IntOrString,
};
use serde_json::{Value, json};

use crate::{
    dns::{DOMAIN, Zone},
    network::services::{Frontend, Protocol, Services},
};

/// A pod as services see it.
#[derive(Debug, Clone)]
pub struct Backend {
    /// The Pod object.
    pub pod: Pod,
    /// Its address.
    pub address: Ipv4Addr,
    /// Whether it serves.
    pub ready: bool,
    /// Whether it is on its way out.
    pub terminating: bool,
}

/// A service with its cluster address, if it has one.
#[derive(Debug, Clone)]
pub struct Addressed {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// The Service object.
    pub service: Service,
    /// Its cluster address.
    pub cluster_ip: Option<Ipv4Addr>,
}

/// Whether a service has no address of its own by request.
pub fn is_headless(service: &Service) -> bool {
    service
        .spec
        .as_ref()
        .and_then(|spec| spec.cluster_ip.as_deref())
        == Some("None")
}

/// The name that a service of type ExternalName stands for.
pub fn external_name(service: &Service) -> Option<&str> {
    let spec = service.spec.as_ref()?;
    (spec.type_.as_deref() == Some("ExternalName"))
        .then_some(spec.external_name.as_deref())
        .flatten()
}

impl Addressed {
    fn backends<'a>(&self, pods: &'a [Backend]) -> Vec<&'a Backend> {
        let selector = self
            .service
            .spec
            .as_ref()
            .and_then(|spec| spec.selector.clone())
            .unwrap_or_default();
        let matches = |backend: &&Backend| {
            let labels = backend.pod.metadata.labels.clone().unwrap_or_default();
            backend.pod.metadata.namespace.as_deref() == Some(&self.namespace)
                && selector
                    .iter()
                    .all(|(key, value)| labels.get(key) == Some(value))
        };
        if selector.is_empty() {
            Vec::new()
        } else {
            pods.iter().filter(matches).collect()
        }
    }

    fn publishes_unready(&self) -> bool {
        self.service
            .spec
            .as_ref()
            .and_then(|spec| spec.publish_not_ready_addresses)
            == Some(true)
    }

    fn serving<'a>(&self, pods: &'a [Backend]) -> Vec<&'a Backend> {
        let serves = |backend: &&Backend| {
            !backend.terminating && (backend.ready || self.publishes_unready())
        };
        self.backends(pods).into_iter().filter(serves).collect()
    }

    fn ports(&self) -> &[ServicePort] {
        self.service
            .spec
            .as_ref()
            .and_then(|spec| spec.ports.as_deref())
            .unwrap_or_default()
    }

    fn host(&self) -> String {
        format!("{}.{}.svc.{DOMAIN}", self.name, self.namespace)
    }
}

/// The EndpointSlices of a service: one for each set of port numbers among its pods.
pub fn slices(service: &Addressed, pods: &[Backend]) -> Vec<Value> {
    let mut groups: BTreeMap<Vec<Option<u16>>, Vec<Value>> = BTreeMap::new();
    for backend in service.backends(pods) {
        let numbers = service
            .ports()
            .iter()
            .map(|port| target_port(port, &backend.pod))
            .collect();
        let ready = !backend.terminating && (backend.ready || service.publishes_unready());
        groups.entry(numbers).or_default().push(json!({
            "addresses": [backend.address.to_string()],
            "conditions": {"ready": ready, "serving": backend.ready, "terminating": backend.terminating},
            "nodeName": crate::system::NODE,
            "targetRef": {
                "kind": "Pod",
                "name": backend.pod.metadata.name,
                "namespace": backend.pod.metadata.namespace,
                "uid": backend.pod.metadata.uid,
            },
        }));
    }
    groups
        .into_iter()
        .enumerate()
        .map(|(index, (numbers, endpoints))| slice(service, index, &numbers, endpoints))
        .collect()
}

fn slice(
    service: &Addressed,
    index: usize,
    numbers: &[Option<u16>],
    endpoints: Vec<Value>,
) -> Value {
    let ports: Vec<_> = service
        .ports()
        .iter()
        .zip(numbers)
        .filter_map(|(port, number)| {
            let mut entry = json!({
                "name": port.name.clone().unwrap_or_default(),
                "port": (*number)?,
                "protocol": port.protocol.as_deref().unwrap_or("TCP"),
            });
            if let Some(protocol) = &port.app_protocol {
                entry["appProtocol"] = json!(protocol);
            }
            Some(entry)
        })
        .collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": format!("{}-{index}", service.name),
            "namespace": service.namespace,
            "labels": {
                "kubernetes.io/service-name": service.name,
                "endpointslice.kubernetes.io/managed-by": "weft-local",
            },
        },
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": ports,
    })
}

/// The port of `pod` that a service port leads to.
fn target_port(port: &ServicePort, pod: &Pod) -> Option<u16> {
    match &port.target_port {
        None => u16::try_from(port.port).ok(),
        Some(IntOrString::Int(0)) => u16::try_from(port.port).ok(),
        Some(IntOrString::Int(number)) => u16::try_from(*number).ok(),
        Some(IntOrString::String(name)) => {
            if let Ok(number) = name.parse() {
                return Some(number);
            }
            let spec = pod.spec.as_ref()?;
            let containers = spec
                .containers
                .iter()
                .chain(spec.init_containers.iter().flatten());
            let named = containers
                .flat_map(|container| container.ports.iter().flatten())
                .find(|port| port.name.as_deref() == Some(name));
            named.and_then(|port| u16::try_from(port.container_port).ok())
        }
    }
}

/// What the router does with connections to cluster addresses.
pub fn frontends(services: &[Addressed], pods: &[Backend]) -> Services {
    let mut found = Services::new();
    for service in services {
        let Some(address) = service.cluster_ip else {
            continue;
        };
        let serving = service.serving(pods);
        for port in service.ports() {
            let protocol = match port.protocol.as_deref() {
                None | Some("TCP") => Protocol::Tcp,
                Some("UDP") => Protocol::Udp,
                Some(_) => continue,
            };
            let Ok(number) = u16::try_from(port.port) else {
                continue;
            };
            let to = |backend: &&Backend| {
                Some(SocketAddrV4::new(
                    backend.address,
                    target_port(port, &backend.pod)?,
                ))
            };
            let endpoints = serving.iter().filter_map(to).collect();
            found.insert(
                Frontend {
                    address,
                    port: number,
                    protocol,
                },
                endpoints,
            );
        }
    }
    found
}

/// The names of all services, added to `zone`.
pub fn add_names(zone: &mut Zone, services: &[Addressed], pods: &[Backend]) {
    for service in services {
        let host = service.host();
        if let Some(target) = external_name(&service.service) {
            zone.add_alias(&host, target);
            continue;
        }
        zone.add_name(&host);
        if let Some(address) = service.cluster_ip {
            zone.add_address(&host, address);
            continue;
        }
        for backend in service.serving(pods) {
            zone.add_address(&host, backend.address);
            let spec = backend.pod.spec.as_ref();
            let named = spec
                .and_then(|spec| spec.hostname.clone())
                .or_else(|| stable_name(&backend.pod));
            if let Some(name) = named {
                zone.add_address(&format!("{name}.{host}"), backend.address);
            }
        }
    }
}

/// Pods of a StatefulSet have names that last.
fn stable_name(pod: &Pod) -> Option<String> {
    let owner = pod.metadata.owner_references.as_ref()?.first()?;
    (owner.kind == "StatefulSet").then(|| pod.metadata.name.clone())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::Answer;

    fn backend(name: &str, last: u8, ready: bool, port: u16) -> Backend {
        let pod = serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "n", "labels": {"app": "web"}},
            "spec": {"containers": [{"name": "c", "ports": [{"name": "http", "containerPort": port}]}]},
        }));
        Backend {
            pod: pod.unwrap(),
            address: Ipv4Addr::new(10, 244, 0, last),
            ready,
            terminating: false,
        }
    }

    fn service(cluster_ip: Option<&str>, spec: Value) -> Addressed {
        let mut spec = spec;
        spec["selector"] = json!({"app": "web"});
        spec["ports"] = json!([{"name": "http", "port": 80, "targetPort": "http"}]);
        Addressed {
            namespace: "n".into(),
            name: "web".into(),
            service: serde_json::from_value(json!({"spec": spec})).unwrap(),
            cluster_ip: cluster_ip.map(|ip| ip.parse().unwrap()),
        }
    }

    #[test]
    fn only_pods_that_serve_are_behind_the_cluster_address() {
        let service = service(Some("10.96.0.16"), json!({}));
        let mut leaving = backend("c", 4, true, 8080);
        leaving.terminating = true;
        let pods = [
            backend("a", 2, true, 8080),
            backend("b", 3, false, 8080),
            leaving,
        ];
        let frontend = Frontend {
            address: Ipv4Addr::new(10, 96, 0, 16),
            port: 80,
            protocol: Protocol::Tcp,
        };
        let expected = Services::from([(frontend, vec!["10.244.0.2:8080".parse().unwrap()])]);
        assert_eq!(frontends(std::slice::from_ref(&service), &pods), expected);
        let conditions: Vec<_> = slices(&service, &pods)[0]["endpoints"]
            .as_array()
            .unwrap()
            .iter()
            .map(|e| e["conditions"]["ready"].clone())
            .collect();
        assert_eq!(conditions, [json!(true), json!(false), json!(false)]);
    }

    #[test]
    fn pods_whose_named_ports_differ_are_in_slices_of_their_own() {
        let slices = slices(
            &service(None, json!({})),
            &[backend("a", 2, true, 8080), backend("b", 3, true, 9090)],
        );
        let ports: Vec<_> = slices
            .iter()
            .map(|slice| slice["ports"][0]["port"].clone())
            .collect();
        assert_eq!(ports, [json!(8080), json!(9090)]);
    }

    #[test]
    fn names_lead_to_the_service_its_pods_or_another_name() {
        let host = "web.n.svc.cluster.local";
        let pods = [backend("a", 2, true, 80), backend("b", 3, true, 80)];
        let lookup = |service: Addressed| {
            let mut zone = Zone::default();
            add_names(&mut zone, &[service], &pods);
            zone.lookup(host)
        };
        let addresses = |list: &[&str]| {
            Some(Answer::Addresses(
                list.iter().map(|ip| ip.parse().unwrap()).collect(),
            ))
        };
        assert_eq!(
            lookup(service(Some("10.96.0.16"), json!({}))),
            addresses(&["10.96.0.16"])
        );
        assert_eq!(
            lookup(service(None, json!({"clusterIP": "None"}))),
            addresses(&["10.244.0.2", "10.244.0.3"])
        );
        let external = json!({"type": "ExternalName", "externalName": "example.com"});
        assert_eq!(
            lookup(service(None, external)),
            Some(Answer::Alias("example.com".into()))
        );
    }
}
