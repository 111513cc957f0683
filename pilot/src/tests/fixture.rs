//! Snapshots for tests: the bookinfo shop, and the objects that tests put beside it.

use std::sync::Arc;

use mesh_api::endpoint::{Endpoint, EndpointAddress, EndpointHealth, ServiceEndpoints};
use mesh_api::gateway::{Gateway, Server, ServerHost, ServerTls, ServerTlsMode};
use mesh_api::identity::SpiffeId;
use mesh_api::labels::{Labels, Selector};
use mesh_api::port::Protocol;
use mesh_api::resource::HasMeta;
use mesh_api::route::matcher::{HttpMatch, StringMatch};
use mesh_api::route::{
    Destination, GatewayRef, HttpAction, HttpRoute, VirtualService, WeightedDestination,
};
use mesh_api::service::Service;
use mesh_api::snapshot::{ByNamespace, ServiceKey, Snapshot};
use mesh_api::test_util::{meta, service};
use mesh_api::traffic_policy::{DestinationRule, Subset, TrafficPolicy};
use mesh_api::workload::Workload;
use serde_json::json;
use xds::envoy::core;
use xds::structs;

use crate::node::Node;

/// A mesh under construction.
#[derive(Default)]
pub(crate) struct Mesh {
    pub(crate) snapshot: Snapshot,
}

impl Mesh {
    /// The bookinfo shop with its ingress gateway; no rules yet.
    pub(crate) fn bookinfo() -> Self {
        let mut mesh = Self::default();
        mesh.snapshot.version = 1;
        let apps = [
            ("productpage", "10.96.0.10", &["v1"][..]),
            ("details", "10.96.0.11", &["v1"]),
            ("reviews", "10.96.0.12", &["v1", "v2", "v3"]),
            ("ratings", "10.96.0.13", &["v1"]),
        ];
        for (index, (app, ip, versions)) in apps.into_iter().enumerate() {
            let mut object = service("default", app, ip, 9080, Protocol::Http);
            object.selector = Some(Selector::new(labels(&[("app", app)])));
            object.service_accounts = [account("default", &format!("bookinfo-{app}"))].into();
            let pods = versions.iter().enumerate().map(|(i, version)| {
                let ip = format!("10.244.{index}.{i}");
                pod(&ip, "default", app, version)
            });
            mesh.add_service(object, pods.collect());
        }
        let mut ingress = service(
            "istio-system",
            "istio-ingressgateway",
            "10.96.0.2",
            80,
            Protocol::Http,
        );
        ingress.selector = Some(Selector::new(labels(&[("istio", "ingressgateway")])));
        ingress.ports[0].target = mesh_api::port::TargetPort::Number(8080.try_into().unwrap());
        mesh.add_service(ingress, Vec::new());
        mesh
    }

    /// Adds a service whose pods listen on its own ports.
    pub(crate) fn add_service(&mut self, object: Service, pods: Vec<Workload>) {
        let key = ServiceKey::of(&object);
        let by_port = object.ports.iter().map(|port| {
            let endpoints = pods.iter().map(|pod| Arc::new(endpoint(pod, port.number)));
            (port.number, endpoints.collect())
        });
        let endpoints = ServiceEndpoints {
            by_port: by_port.collect(),
        };
        edit(&mut self.snapshot.endpoints).insert(key.clone(), Arc::new(endpoints));
        edit(&mut self.snapshot.services).insert(key, Arc::new(object));
        for pod in pods {
            edit(&mut self.snapshot.workloads).insert(pod.addresses[0], Arc::new(pod));
        }
    }

    pub(crate) fn add_virtual_service(&mut self, object: VirtualService) {
        add(
            &mut self.snapshot.virtual_services,
            object.meta.key.namespace.clone(),
            object,
        );
    }

    pub(crate) fn add_destination_rule(&mut self, object: DestinationRule) {
        add(
            &mut self.snapshot.destination_rules,
            object.meta.key.namespace.clone(),
            object,
        );
    }

    pub(crate) fn add_gateway(&mut self, object: Gateway) {
        add(
            &mut self.snapshot.gateways,
            object.meta.key.namespace.clone(),
            object,
        );
    }

    pub(crate) fn snapshot(self) -> Arc<Snapshot> {
        Arc::new(self.snapshot)
    }
}

/// Adds an object to a map of a snapshot.
pub(crate) fn add<T: HasMeta>(map: &mut Arc<ByNamespace<T>>, namespace: Arc<str>, object: T) {
    assert_eq!(object.meta().key.namespace, namespace);
    edit(map).insert(Arc::new(object));
}

/// A map of a snapshot, to be changed.
pub(crate) fn edit<M: Clone>(map: &mut Arc<M>) -> &mut M {
    Arc::make_mut(map)
}

pub(crate) fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().copied().collect()
}

pub(crate) fn account(namespace: &str, name: &str) -> SpiffeId {
    SpiffeId::new(Default::default(), namespace, name).unwrap()
}

/// A meshed pod of an app.
pub(crate) fn pod(ip: &str, namespace: &str, app: &str, version: &str) -> Workload {
    Workload {
        name: format!("{app}-{version}-abc").into(),
        namespace: namespace.into(),
        addresses: vec![ip.parse().unwrap()],
        labels: labels(&[("app", app), ("version", version)]),
        identity: account(namespace, &format!("bookinfo-{app}")),
        node: "node".into(),
        locality: Default::default(),
        workload_name: format!("{app}-{version}").into(),
        canonical_name: app.into(),
        canonical_revision: version.into(),
        mtls_capable: true,
        named_ports: Vec::new(),
        host_network: false,
        ready: true,
    }
}

/// The endpoint of a pod on a port.
pub(crate) fn endpoint(pod: &Workload, port: u16) -> Endpoint {
    Endpoint {
        address: EndpointAddress::Ip(pod.addresses[0]),
        port,
        labels: pod.labels.clone(),
        locality: pod.locality.clone(),
        weight: 1,
        health: EndpointHealth::Healthy,
        mtls_capable: pod.mtls_capable,
        identity: Some(pod.identity.clone()),
        workload: pod.name.clone(),
        namespace: pod.namespace.clone(),
        workload_name: pod.workload_name.clone(),
        canonical_name: pod.canonical_name.clone(),
        canonical_revision: pod.canonical_revision.clone(),
        node: pod.node.clone(),
        network: "".into(),
    }
}

/// The sidecar of a bookinfo pod.
pub(crate) fn sidecar(app: &str, version: &str, ip: &str, data_plane: &str) -> Node {
    let wire = core::Node {
        id: format!("sidecar~{ip}~{app}-{version}-abc.default~default.svc.cluster.local"),
        user_agent_name: data_plane.into(),
        metadata: Some(metadata(&json!({
            "LABELS": {"app": app, "version": version},
            "SERVICE_ACCOUNT": format!("bookinfo-{app}"),
            "WORKLOAD_NAME": format!("{app}-{version}"),
        }))),
        ..Default::default()
    };
    Node::from_wire(&wire).unwrap()
}

/// The ingress gateway.
pub(crate) fn ingress(data_plane: &str) -> Node {
    let wire = core::Node {
        id: "router~10.244.9.1~ingress-abc.istio-system~istio-system.svc.cluster.local".into(),
        user_agent_name: data_plane.into(),
        metadata: Some(metadata(&json!({
            "LABELS": {"app": "istio-ingressgateway", "istio": "ingressgateway"},
            "SERVICE_ACCOUNT": "istio-ingressgateway",
        }))),
        ..Default::default()
    };
    Node::from_wire(&wire).unwrap()
}

fn metadata(json: &serde_json::Value) -> xds::pb::google::protobuf::Struct {
    structs::from_json(json.as_object().unwrap())
}

/// A rule that sends hosts of the mesh, or of a gateway, through `http`.
pub(crate) fn virtual_service(
    name: &str,
    host: &str,
    gateway: Option<&str>,
    http: Vec<HttpRoute>,
) -> VirtualService {
    let gateway = gateway.map_or(GatewayRef::Mesh, |name| GatewayRef::Gateway {
        namespace: "default".into(),
        name: name.into(),
    });
    VirtualService {
        meta: meta("VirtualService", "default", name),
        hosts: vec![host.parse().unwrap()],
        gateways: vec![gateway],
        visibility: Default::default(),
        http,
        tls: Vec::new(),
        tcp: Vec::new(),
    }
}

/// A rule's action: to subsets by weight.
pub(crate) fn to(host: &str, subsets: &[(&str, u32)]) -> HttpAction {
    HttpAction::Route(
        subsets
            .iter()
            .map(|(subset, weight)| destination(host, subset, *weight))
            .collect(),
    )
}

pub(crate) fn destination(host: &str, subset: &str, weight: u32) -> WeightedDestination {
    WeightedDestination {
        destination: Destination {
            host: host.parse().unwrap(),
            subset: (!subset.is_empty()).then(|| subset.into()),
            port: None,
        },
        weight,
        headers: Default::default(),
    }
}

/// A plain rule.
pub(crate) fn rule(matches: Vec<HttpMatch>, action: HttpAction) -> HttpRoute {
    HttpRoute {
        name: "".into(),
        origin: mesh_api::resource::Origin::BuiltIn,
        matches,
        action,
        rewrite: None,
        timeout: Default::default(),
        retries: None,
        fault: None,
        mirrors: Vec::new(),
        cors: None,
        headers: Default::default(),
    }
}

pub(crate) fn uri(matcher: StringMatch) -> HttpMatch {
    HttpMatch {
        uri: Some(matcher),
        ..Default::default()
    }
}

pub(crate) fn header(name: &str, value: &str) -> HttpMatch {
    let headers = [(name.into(), StringMatch::Exact(value.into()))].into();
    HttpMatch {
        headers,
        ..Default::default()
    }
}

/// A rule with a policy and subsets `v1`, `v2`, `v3` by label `version`.
pub(crate) fn destination_rule(name: &str, host: &str, policy: TrafficPolicy) -> DestinationRule {
    let subset = |version: &str| Subset {
        name: version.into(),
        labels: labels(&[("version", version)]),
        policy: TrafficPolicy::default(),
    };
    DestinationRule {
        meta: meta("DestinationRule", "default", name),
        host: host.parse().unwrap(),
        policy,
        subsets: ["v1", "v2", "v3"].map(subset).into(),
        visibility: Default::default(),
        workload_selector: None,
    }
}

/// A Gateway on the ingress gateway.
pub(crate) fn gateway(name: &str, servers: Vec<Server>) -> Gateway {
    Gateway {
        meta: meta("Gateway", "default", name),
        selector: Selector::new(labels(&[("istio", "ingressgateway")])),
        pod_namespace: None,
        trusted_pods: None,
        servers,
    }
}

pub(crate) fn server(
    port: u16,
    protocol: Protocol,
    host: &str,
    tls: Option<ServerTlsMode>,
) -> Server {
    Server {
        port,
        port_name: format!("{}-{port}", protocol.to_string().to_lowercase()).into(),
        protocol,
        name: None,
        bind: None,
        hosts: vec![ServerHost {
            namespace: None,
            host: host.parse().unwrap(),
        }],
        tls: tls.map(|mode| ServerTls {
            https_redirect: false,
            mode: Some(mode),
            subject_alt_names: Vec::new(),
            verify_certificate_spki: Vec::new(),
            verify_certificate_hash: Vec::new(),
            min_version: mesh_api::traffic_policy::tls::TlsVersion::V1_2,
            max_version: mesh_api::traffic_policy::tls::TlsVersion::V1_3,
            cipher_suites: Vec::new(),
        }),
    }
}
