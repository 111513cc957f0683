//! `EndpointSlice`: addresses of a service, before they are joined with pods.

use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use mesh_api::endpoint::EndpointHealth;

use super::descriptor::Descriptor;
use super::findings::Findings;
use super::read::Read;
use super::rules::each;
use super::scope::Scope;
use crate::manifest::path::FieldPath;

const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// An EndpointSlice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// The service, if the slice belongs to one.
    pub service: Option<Arc<str>>,
    /// Port names and numbers.
    pub ports: Vec<(Arc<str>, u16)>,
    /// Addresses.
    pub endpoints: Vec<SliceEndpoint>,
}

/// One entry of a slice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SliceEndpoint {
    /// Addresses of the same pod.
    pub addresses: Vec<IpAddr>,
    /// Whether it takes requests.
    pub health: EndpointHealth,
    /// The pod's name, if there is one.
    pub pod: Option<Arc<str>>,
    /// The node; empty if unknown.
    pub node: Arc<str>,
    /// The zone; empty if unknown.
    pub zone: Arc<str>,
}

impl Read for EndpointSlice {
    const KIND: Descriptor = Descriptor::kubernetes("discovery.k8s.io", "EndpointSlice");

    type Model = Arc<Slice>;

    fn read(&self, scope: &Scope<'_>, findings: &mut Findings<'_>) -> Option<Arc<Slice>> {
        let root = FieldPath::ROOT;
        let ports = self.ports.iter().flatten().filter_map(|port| {
            let number = u16::try_from(port.port?).ok();
            let number = number.filter(|number| *number > 0)?;
            Some((port.name.as_deref().unwrap_or_default().into(), number))
        });
        let named_by_dns = self.address_type == "FQDN";
        let endpoints = self.endpoints.as_deref().filter(|_| !named_by_dns);
        let endpoints = each(
            endpoints.unwrap_or_default(),
            &root.field("endpoints"),
            findings,
            slice_endpoint,
        );
        Some(Arc::new(Slice {
            namespace: scope.meta.key.namespace.clone(),
            service: scope.meta.labels.get(SERVICE_NAME).map(Arc::from),
            ports: ports.collect(),
            endpoints: endpoints?,
        }))
    }

    #[cfg(any(test, feature = "test-util"))]
    fn sample() -> serde_json::Value {
        serde_json::json!({
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["10.0.0.1"]}],
            "ports": [{"name": "http", "port": 80}],
        })
    }
}

fn slice_endpoint(
    wire: &Endpoint,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<SliceEndpoint> {
    let list = path.field("addresses");
    let addresses = each(&wire.addresses, &list, findings, |text, at, findings| {
        let address = text.parse().ok();
        if address.is_none() {
            findings.error(at, format!("\"{text}\" is not an address"));
        }
        address
    });
    let pod = wire
        .target_ref
        .as_ref()
        .filter(|target| target.kind.as_deref() == Some("Pod"));
    Some(SliceEndpoint {
        addresses: addresses?,
        health: health(wire),
        pod: pod.and_then(|pod| pod.name.as_deref()).map(Arc::from),
        node: wire.node_name.as_deref().unwrap_or_default().into(),
        zone: wire.zone.as_deref().unwrap_or_default().into(),
    })
}

/// Unknown readiness counts as ready, as the API documents.
fn health(endpoint: &Endpoint) -> EndpointHealth {
    let conditions = endpoint.conditions.as_ref();
    let is = |value: Option<Option<bool>>, default| value.flatten().unwrap_or(default);
    let ready = is(conditions.map(|c| c.ready), true);
    let terminating = is(conditions.map(|c| c.terminating), false);
    let serving = is(conditions.map(|c| c.serving), ready);
    match (ready, serving && terminating) {
        (true, _) => EndpointHealth::Healthy,
        (_, true) => EndpointHealth::Draining,
        _ => EndpointHealth::Unhealthy,
    }
}
