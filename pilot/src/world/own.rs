//! What is a proxy's own: the listener for its application and the clusters behind it.

use std::collections::BTreeMap;
use std::sync::Arc;

use mesh_api::labels::Labels;
use mesh_api::port::{Protocol, TargetPort};
use mesh_api::service::Service;
use mesh_api::sidecar::{IngressListener, Sidecar};
use mesh_api::snapshot::{ByNamespace, Snapshot};
use mesh_api::traffic_policy::connection_pool::ConnectionPool;
use mesh_api::workload::Workload;
use xds::delta::ResourceMap;
use xds::type_url::ResourceType;

use super::view::{View, difference};
use super::{Change, World};
use crate::cache::insert;
use crate::cds::{Inbound, InboundTarget};
use crate::lds::Common;
use crate::lds::http_connection_manager::Position;
use crate::lds::inbound::{Inputs, Port};
use crate::node::{InterceptionMode, Node, NodeKind};
use crate::shared::Shared;
use crate::{cds, lds, names, policy, tls};

/// All that a proxy's own resources are made from. Gateways have none.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct OwnInputs {
    listener: Option<Inputs>,
    clusters: Vec<Inbound>,
}

/// A proxy's own resources.
#[derive(Debug)]
pub(crate) struct Own {
    pub(super) inputs: OwnInputs,
    listeners: ResourceMap,
    clusters: ResourceMap,
}

/// A port of the workload with the services that lead to it.
struct Target {
    port: Port,
    pool: ConnectionPool,
    target: InboundTarget,
    services: Vec<[String; 3]>,
}

impl OwnInputs {
    pub(super) fn of(
        world: &World,
        node: &Node,
        workload: Option<&Arc<Workload>>,
        view: &View,
    ) -> Self {
        if node.kind == NodeKind::Router || node.interception_mode == InterceptionMode::None {
            return Self::default();
        }
        let snapshot = &world.snapshot;
        let labels: Labels = node
            .labels
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        world.kept.work.visit(candidates(snapshot, &node.namespace));
        let modes = policy::peer_modes(snapshot, &node.namespace, &labels);
        let mut targets = targets(world, node, &labels, workload, view);
        for target in targets.values_mut() {
            target.port.mode = modes.port(target.port.number);
        }
        let mesh = &snapshot.mesh;
        let clusters = targets.values().map(|target| Inbound {
            port: target.port.number,
            protocol: target.port.protocol,
            target: target.target.clone(),
            pool: target.pool.clone(),
            mesh: Shared::from(mesh),
            services: target.services.clone(),
        });
        let other_ports = modes
            .ports
            .iter()
            .filter(|(port, _)| !targets.contains_key(*port));
        let position = Position::SidecarInbound;
        let listener = Inputs {
            listen_port: mesh.proxy_inbound_listen_port,
            ports: targets.values().map(|target| target.port.clone()).collect(),
            mode: modes.mode,
            port_modes: other_ports.map(|(port, mode)| (*port, *mode)).collect(),
            authorization: policy::authorization(snapshot, &node.namespace, &labels)
                .iter()
                .map(Shared::from)
                .collect(),
            request_authentication: lds::jwt::filters(&policy::request_authentication(
                snapshot,
                &node.namespace,
                &labels,
            )),
            trust_domains: tls::trust_domains(mesh),
            detection_timeout: mesh.protocol_detection_timeout,
            min_tls_version: mesh.mesh_mtls_min_version,
            common: Common {
                weft: node.is_weft(),
                access_log: policy::access_log(snapshot, &node.namespace, &labels, position),
                normalization: lds::normalization(mesh),
                http10: node.http10,
                transparent: node.interception_mode == InterceptionMode::Tproxy,
                trusted_hops: 0,
            },
        };
        Self {
            clusters: clusters.collect(),
            listener: Some(listener),
        }
    }
}

impl Own {
    pub(super) fn new(world: &World, inputs: OwnInputs) -> Self {
        let (generators, work) = (&world.kept.generators, &world.kept.work);
        let (mut listeners, mut clusters) = (ResourceMap::new_sync(), ResourceMap::new_sync());
        if let Some(listener) = inputs.listener.clone() {
            let cache = &generators.virtual_inbound;
            let name = names::VIRTUAL_INBOUND;
            let listener = cache.get(work, name, listener, lds::inbound::generate);
            insert(&mut listeners, listener);
        }
        for cluster in &inputs.clusters {
            let name = names::inbound_cluster(cluster.port);
            let cache = &generators.inbound_clusters;
            let cluster = cache.get(work, &name, cluster.clone(), cds::inbound);
            insert(&mut clusters, cluster);
        }
        Self {
            inputs,
            listeners,
            clusters,
        }
    }

    pub(super) fn resources(&self, resource_type: ResourceType) -> Option<&ResourceMap> {
        match resource_type {
            ResourceType::Cluster => Some(&self.clusters),
            ResourceType::Listener => Some(&self.listeners),
            _ => None,
        }
    }

    /// How the resources of a type differ from earlier ones.
    pub(super) fn change_since(&self, before: &Self, resource_type: ResourceType) -> Change {
        let of_type = |own: &Self| own.resources(resource_type).cloned();
        match (of_type(before), of_type(self)) {
            (Some(before), Some(after)) => Change::of(difference(&before, &after)),
            _ => Change::Nothing,
        }
    }
}

/// How many objects are asked whether they select a workload.
fn candidates(snapshot: &Snapshot, namespace: &str) -> usize {
    fn count<T>(objects: &ByNamespace<T>, namespace: &str) -> usize {
        Snapshot::of_namespace(objects, namespace).len()
    }
    let root = &*snapshot.mesh.root_namespace;
    let in_namespace = |namespace| {
        count(&snapshot.sidecars, namespace)
            + count(&snapshot.peer_authentications, namespace)
            + count(&snapshot.authorization_policies, namespace)
            + count(&snapshot.request_authentications, namespace)
            + count(&snapshot.telemetries, namespace)
    };
    let own = if namespace == root {
        0
    } else {
        in_namespace(namespace)
    };
    own + in_namespace(root)
}

/// The workload's ports by number: from its Sidecar if that lists any, else from services. If
/// several services lead to one port, the oldest tells its protocol.
fn targets(
    world: &World,
    node: &Node,
    labels: &Labels,
    workload: Option<&Arc<Workload>>,
    view: &View,
) -> BTreeMap<u16, Target> {
    let sidecar = sidecar(&world.snapshot, node, labels);
    let pool = sidecar.and_then(|sidecar| sidecar.inbound_connection_pool.clone());
    if let Some(sidecar) = sidecar.filter(|sidecar| !sidecar.ingress.is_empty()) {
        let host = format!("{}.{}", sidecar.meta.name(), sidecar.meta.namespace());
        let ingress = sidecar.ingress.iter();
        return ingress
            .map(|listener| {
                (
                    listener.port,
                    ingress_target(listener, &host, pool.as_ref()),
                )
            })
            .collect();
    }
    let services = world
        .facts
        .selecting(&node.namespace, labels, &world.kept.work);

    let mut targets: BTreeMap<u16, Target> = BTreeMap::new();
    for service in services {
        for port in service
            .ports
            .iter()
            .filter(|port| port.protocol != Protocol::Udp)
        {
            let Some(number) = target_port(&port.target, workload) else {
                continue;
            };
            let identity = [
                service.hostname.to_string(),
                service.name.to_string(),
                service.meta.namespace().to_owned(),
            ];
            let target = targets.entry(number).or_insert_with(|| Target {
                port: Port {
                    number,
                    service_port: port.number,
                    host: service.hostname.to_string(),
                    protocol: port.protocol,
                    mode: lds::filter_chain::MtlsMode::Permissive,
                },
                pool: pool
                    .clone()
                    .or_else(|| service_pool(view, service, port.number))
                    .unwrap_or_default(),
                target: InboundTarget::Original,
                services: Vec::new(),
            });
            if !target.services.contains(&identity) {
                target.services.push(identity);
            }
        }
    }
    targets
}

fn sidecar<'s>(snapshot: &'s Snapshot, node: &Node, labels: &Labels) -> Option<&'s Arc<Sidecar>> {
    let own = Snapshot::of_namespace(&snapshot.sidecars, &node.namespace);
    let root = Snapshot::of_namespace(&snapshot.sidecars, &snapshot.mesh.root_namespace);
    own.iter()
        .find(|s| {
            s.workload_selector
                .as_ref()
                .is_some_and(|selector| selector.matches(labels))
        })
        .or_else(|| own.iter().find(|s| s.workload_selector.is_none()))
        .or_else(|| root.iter().find(|s| s.workload_selector.is_none()))
}

fn target_port(target: &TargetPort, workload: Option<&Arc<Workload>>) -> Option<u16> {
    match target {
        TargetPort::Number(number) => Some(number.get()),
        TargetPort::Name(name) => {
            let ports = &workload?.named_ports;
            ports
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, number)| *number)
        }
    }
}

/// The server's side keeps to the pool that clients of its service are given.
fn service_pool(view: &View, service: &Service, port: u16) -> Option<ConnectionPool> {
    view.scope
        .rule(service)?
        .policy()
        .for_port(port)
        .connection_pool
}

fn ingress_target(listener: &IngressListener, host: &str, pool: Option<&ConnectionPool>) -> Target {
    let target = match listener.default_endpoint.as_deref() {
        None => InboundTarget::Original,
        Some(endpoint) => endpoint_target(endpoint, listener.port),
    };
    Target {
        port: Port {
            number: listener.port,
            service_port: listener.port,
            host: host.to_owned(),
            protocol: listener.protocol,
            mode: lds::filter_chain::MtlsMode::Permissive,
        },
        pool: listener
            .connection_pool
            .clone()
            .or_else(|| pool.cloned())
            .unwrap_or_default(),
        target,
        services: Vec::new(),
    }
}

/// `unix:///path`, `127.0.0.1:8080`; `0.0.0.0:port` is the pod's own address.
fn endpoint_target(endpoint: &str, default_port: u16) -> InboundTarget {
    if let Some(path) = endpoint.strip_prefix("unix://") {
        return InboundTarget::Unix(path.to_owned());
    }
    match endpoint.parse::<std::net::SocketAddr>() {
        Ok(address) if address.ip().is_unspecified() && address.port() == default_port => {
            InboundTarget::Original
        }
        Ok(address) if address.ip().is_unspecified() => {
            InboundTarget::Address(std::net::Ipv4Addr::LOCALHOST.into(), address.port())
        }
        Ok(address) => InboundTarget::Address(address.ip(), address.port()),
        Err(_) => InboundTarget::Original,
    }
}
