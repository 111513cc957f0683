//! `Service` of Kubernetes. Source: Istio `kube.ConvertService`.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use mesh_api::labels::Selector;
use mesh_api::port::{Port, Protocol, TargetPort};
use mesh_api::resource::Visibility;
use mesh_api::service::{
    Registry, Resolution, Service, ServiceAddress, ServicePort, TrafficDistribution,
};

use serde_json::{Value, json};

use super::descriptor::Descriptor;
use super::findings::Findings;
use super::read::Read;
use super::rules::{self, each};
use super::scope::{Scope, visibility};
use crate::manifest::path::FieldPath;
use crate::manifest::{Document, node};

const EXPORT_TO: &str = "networking.istio.io/exportTo";

impl Read for core::Service {
    const KIND: Descriptor = Descriptor::kubernetes("", "Service");

    type Model = Arc<Service>;

    fn read(&self, scope: &Scope<'_>, findings: &mut Findings<'_>) -> Option<Arc<Service>> {
        let root = FieldPath::ROOT;
        let path = root.field("spec");
        let default = core::ServiceSpec::default();
        let spec = self.spec.as_ref().unwrap_or(&default);
        let external = spec.type_.as_deref() == Some("ExternalName");
        let headless = spec.cluster_ip.as_deref() == Some("None");
        let hostname = scope.host(scope.meta.name(), &root.field("metadata"), findings);
        let addresses = addresses(spec, &path, findings);
        let ports = spec.ports.as_deref().unwrap_or_default();
        let ports = each(
            ports,
            &path.field("ports"),
            findings,
            |port, at, findings| service_port(port, external, at, findings),
        );
        Some(Arc::new(Service {
            meta: scope.meta.clone(),
            hostname: hostname?,
            name: scope.meta.key.name.clone(),
            registry: Registry::Kubernetes,
            addresses: addresses?,
            ports: ports?,
            resolution: match (external, headless) {
                // Istio looks the target up among its services first; DNS leads there too.
                (true, _) => Resolution::Dns,
                (_, true) => Resolution::Passthrough,
                _ => Resolution::Static,
            },
            mesh_external: external,
            visibility: service_visibility(scope),
            selector: spec
                .selector
                .as_ref()
                .filter(|labels| !labels.is_empty())
                .map(|labels| Selector::new(labels.iter().collect())),
            subject_alt_names: Default::default(),
            service_accounts: Default::default(),
            aliases: Vec::new(),
            publish_not_ready: spec.publish_not_ready_addresses.unwrap_or(false),
            node_local: spec.internal_traffic_policy.as_deref() == Some("Local"),
            traffic_distribution: distribution(spec, scope),
        }))
    }

    #[cfg(any(test, feature = "test-util"))]
    fn sample() -> serde_json::Value {
        serde_json::json!({"spec": {"ports": [{"port": 80}]}})
    }
}

fn addresses(
    spec: &core::ServiceSpec,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<Vec<ServiceAddress>> {
    let listed = spec.cluster_ips.iter().flatten();
    let mut texts: Vec<&String> = spec.cluster_ip.iter().chain(listed).collect();
    texts.retain(|text| !text.is_empty() && *text != "None");
    let mut seen = HashSet::new();
    let mut addresses = Vec::new();
    for text in texts {
        let Ok(address) = text.parse::<IpAddr>() else {
            let message = format!("\"{text}\" is not an address");
            findings.error(&path.field("clusterIP"), message);
            return None;
        };
        if seen.insert(address) {
            addresses.push(ServiceAddress::Ip(address));
        }
    }
    Some(addresses)
}

fn service_port(
    wire: &core::ServicePort,
    external: bool,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<ServicePort> {
    let number = port(wire.port, &path.field("port"), findings)?;
    let name = wire.name.as_deref().unwrap_or_default();
    let datagrams = matches!(wire.protocol.as_deref(), Some("UDP" | "SCTP"));
    let app = wire.app_protocol.as_deref();
    let protocol = match Protocol::of_service_port(number.get(), name, app, datagrams) {
        // An alias leads out of the mesh, where first bytes say nothing about the other side.
        Protocol::Auto if external => Protocol::Tcp,
        protocol => protocol,
    };
    let target = match &wire.target_port {
        Some(IntOrString::Int(0)) | None => TargetPort::Number(number),
        Some(IntOrString::Int(target)) => {
            TargetPort::Number(port(*target, &path.field("targetPort"), findings)?)
        }
        Some(IntOrString::String(name)) => match name.parse::<Port>() {
            Ok(number) => TargetPort::Number(number),
            Err(_) => TargetPort::Name(name.as_str().into()),
        },
    };
    Some(ServicePort {
        number: number.get(),
        name: name.into(),
        protocol,
        target,
    })
}

fn port(number: i32, path: &FieldPath<'_>, findings: &mut Findings<'_>) -> Option<Port> {
    let number = u32::try_from(number).unwrap_or(0);
    rules::port(number, path, findings).and_then(Port::new)
}

/// Annotation `networking.istio.io/exportTo`, a comma-separated list.
fn service_visibility(scope: &Scope<'_>) -> Visibility {
    let default = &scope.mesh.default_service_export_to;
    let Some(text) = scope.meta.annotations.get(EXPORT_TO) else {
        return scope.own(default);
    };
    let names: Vec<String> = text
        .split(',')
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .collect();
    visibility(&names, scope.meta.namespace()).unwrap_or_else(|| scope.own(default))
}

fn distribution(spec: &core::ServiceSpec, scope: &Scope<'_>) -> TrafficDistribution {
    let annotation = scope
        .meta
        .annotations
        .get("networking.istio.io/traffic-distribution");
    match annotation.or(spec.traffic_distribution.as_deref()) {
        Some("PreferClose" | "PreferSameZone") => TrafficDistribution::PreferSameZone,
        Some("PreferSameNode") => TrafficDistribution::PreferSameNode,
        _ => TrafficDistribution::Any,
    }
}

/// The target of an ExternalName service, which the model has no place for.
pub(crate) fn external_name(document: &Document) -> Option<Arc<str>> {
    let spec = document.node.get("spec")?;
    let external = spec.get_str("type") == Some("ExternalName");
    spec.get_str("externalName")
        .filter(|_| external)
        .map(Arc::from)
}

/// Where a load balancer outside of the mesh is reached, as its controller reports it in the status.
pub(crate) fn load_balancer_addresses(document: &Document) -> Vec<Value> {
    let status = document.node.get("status");
    let balancer = status.and_then(|status| status.get("loadBalancer"));
    let list = balancer.and_then(|balancer| balancer.get("ingress"));
    let Some(node::Value::Seq(list)) = list.map(|list| &list.value) else {
        return Vec::new();
    };
    list.iter()
        .map(|one| match one.get_str("ip") {
            Some(ip) => json!({"ip": ip}),
            None => json!({"hostname": one.get_str("hostname")}),
        })
        .collect()
}
