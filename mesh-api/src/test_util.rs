//! Builders for tests (feature `test-util`): a value with every field set, to be changed by the test.

use std::sync::Arc;

use crate::hostname::Hostname;
use crate::port::{Protocol, TargetPort};
use crate::resource::{Meta, Origin, ResourceKey, Visibility};
use crate::service::{
    Registry, Resolution, Service, ServiceAddress, ServicePort, TrafficDistribution,
};

/// The metadata of an object made by a test.
pub fn meta(kind: &str, namespace: &str, name: &str) -> Meta {
    Meta {
        key: ResourceKey::new(kind, namespace, name),
        origin: Origin::BuiltIn,
        creation_seconds: 0,
        labels: Default::default(),
        annotations: Default::default(),
    }
}

/// A Kubernetes service with one port that leads to the same port of its pods.
pub fn service(
    namespace: &str,
    name: &str,
    address: &str,
    port: u16,
    protocol: Protocol,
) -> Service {
    let hostname: Hostname = format!("{name}.{namespace}.svc.cluster.local")
        .parse()
        .expect("a service name");
    let port_name: Arc<str> = protocol.to_string().to_ascii_lowercase().into();
    let target = TargetPort::Number(port.try_into().expect("a port that is not 0"));
    Service {
        meta: meta("Service", namespace, name),
        hostname,
        name: name.into(),
        registry: Registry::Kubernetes,
        addresses: vec![ServiceAddress::Ip(address.parse().expect("an address"))],
        ports: vec![ServicePort {
            number: port,
            name: port_name,
            protocol,
            target,
        }],
        resolution: Resolution::Static,
        mesh_external: false,
        visibility: Visibility::Public,
        selector: None,
        subject_alt_names: Default::default(),
        service_accounts: Default::default(),
        aliases: Vec::new(),
        publish_not_ready: false,
        node_local: false,
        traffic_distribution: TrafficDistribution::Any,
    }
}
