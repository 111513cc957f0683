//! The EndpointSlice: addresses of a service, before they are joined with pods.

use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use mesh_api::endpoint::EndpointHealth;

use super::{Fault, Scope};
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

pub(super) fn normalize(slice: &EndpointSlice, scope: &Scope<'_>) -> Result<Slice, Fault> {
    let root = FieldPath::ROOT;
    let list = root.field("endpoints");
    let ports = slice.ports.iter().flatten().filter_map(|port| {
        let number = u16::try_from(port.port?)
            .ok()
            .filter(|number| *number > 0)?;
        Some((port.name.as_deref().unwrap_or_default().into(), number))
    });
    let named_by_dns = slice.address_type == "FQDN";
    let endpoints = slice
        .endpoints
        .iter()
        .flatten()
        .enumerate()
        .filter(|_| !named_by_dns);
    Ok(Slice {
        namespace: scope.meta.key.namespace.clone(),
        service: scope.meta.labels.get(SERVICE_NAME).map(Arc::from),
        ports: ports.collect(),
        endpoints: endpoints
            .map(|(index, endpoint)| slice_endpoint(endpoint, &list.index(index), scope))
            .collect::<Result<_, _>>()?,
    })
}

fn slice_endpoint(
    endpoint: &Endpoint,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
) -> Result<SliceEndpoint, Fault> {
    let list = path.field("addresses");
    let addresses = endpoint.addresses.iter().enumerate().map(|(index, text)| {
        text.parse()
            .map_err(|_| scope.fault(&list.index(index), format!("\"{text}\" is not an address")))
    });
    let pod = endpoint
        .target_ref
        .as_ref()
        .filter(|target| target.kind.as_deref() == Some("Pod"));
    Ok(SliceEndpoint {
        addresses: addresses.collect::<Result<_, _>>()?,
        health: health(endpoint),
        pod: pod.and_then(|pod| pod.name.as_deref()).map(Arc::from),
        node: endpoint.node_name.as_deref().unwrap_or_default().into(),
        zone: endpoint.zone.as_deref().unwrap_or_default().into(),
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
