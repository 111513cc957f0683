//! Load assignments: the endpoints of a cluster, by locality.

mod locality;

use std::sync::Arc;

use mesh_api::endpoint::{Endpoint, EndpointAddress, EndpointHealth, ServiceEndpoints};
use mesh_api::labels::{Labels, Selector};
use mesh_api::locality::Locality;
use mesh_api::traffic_policy::load_balancer::LocalityLbSetting;
use xds::envoy::endpoint::{
    ClusterLoadAssignment, LbEndpoint, LocalityLbEndpoints, cluster_load_assignment,
    lb_endpoint::HostIdentifier,
};
use xds::envoy::{core, endpoint as wire_endpoint};
use xds::structs;

use crate::node::NodeLocality;
use crate::shared::Shared;
use crate::{cds, names, wire};

/// All that a load assignment is made from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Inputs {
    /// The cluster's name.
    pub(crate) cluster: String,
    /// The service's port.
    pub(crate) port: u16,
    /// The subset's labels.
    pub(crate) labels: Labels,
    /// The endpoints of the service.
    pub(crate) endpoints: Shared<ServiceEndpoints>,
    /// Whether unready endpoints are kept.
    pub(crate) publish_not_ready: bool,
    /// Where the client is and what that means; `None` if locality plays no role.
    pub(crate) locality: Option<LocalityInputs>,
    /// The machine whose endpoints alone are served (`internalTrafficPolicy: Local`), the client's; `None` for all.
    pub(crate) node: Option<Arc<str>>,
    /// Workload ports on which mesh TLS is refused, by namespace and labels.
    pub(crate) mtls_disabled: Arc<Vec<MtlsDisabled>>,
}

/// What an assignment by locality depends on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LocalityInputs {
    /// The client's place.
    pub(crate) client: NodeLocality,
    /// The client's labels.
    pub(crate) client_labels: Labels,
    /// The setting in force.
    pub(crate) setting: LocalityLbSetting,
    /// Whether endpoints further away wait until nearer ones fail.
    pub(crate) failover: bool,
}

/// Workloads that refuse mesh TLS, on a port or on all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MtlsDisabled {
    /// Their namespace.
    pub(crate) namespace: Arc<str>,
    /// Their labels.
    pub(crate) selector: Selector,
    /// The port.
    pub(crate) port: Option<u16>,
}

impl MtlsDisabled {
    fn covers(&self, endpoint: &Endpoint) -> bool {
        self.namespace == endpoint.namespace
            && self.port.is_none_or(|port| port == endpoint.port)
            && self.selector.matches(&endpoint.labels)
    }
}

/// Makes the assignment.
pub(crate) fn generate(inputs: &Inputs) -> ClusterLoadAssignment {
    let subset = Selector::new(inputs.labels.clone());
    let endpoints = inputs
        .endpoints
        .port(inputs.port)
        .iter()
        .filter(|endpoint| {
            let near = inputs
                .node
                .as_ref()
                .is_none_or(|node| endpoint.node == *node);
            near && subset.matches(&endpoint.labels)
                && is_served(endpoint, inputs.publish_not_ready)
        });
    let mtls = |endpoint: &Endpoint| {
        endpoint.mtls_capable && !inputs.mtls_disabled.iter().any(|d| d.covers(endpoint))
    };
    let localities = group(endpoints, mtls);
    let localities = match &inputs.locality {
        Some(client) => locality::arrange(localities, client),
        None => localities
            .into_iter()
            .map(LocalityGroup::into_wire)
            .collect(),
    };
    ClusterLoadAssignment {
        cluster_name: inputs.cluster.clone(),
        endpoints: localities,
        policy: Some(policy()),
        ..Default::default()
    }
}

/// The assignment that travels inside of a cluster that resolves names itself.
pub(crate) fn generate_embedded(inputs: &cds::Inputs) -> ClusterLoadAssignment {
    let labels = inputs.subset.as_deref().and_then(|name| {
        inputs
            .rule
            .as_ref()?
            .subset(name)
            .map(|subset| subset.labels.clone())
    });
    let subset = Selector::new(labels.unwrap_or_default());
    let endpoints = inputs
        .embedded_endpoints
        .iter()
        .flat_map(|e| e.port(inputs.port));
    let endpoints = endpoints.filter(|endpoint| subset.matches(&endpoint.labels));
    let localities = group(endpoints, |endpoint| endpoint.mtls_capable);
    ClusterLoadAssignment {
        cluster_name: inputs.name(),
        endpoints: localities
            .into_iter()
            .map(LocalityGroup::into_wire)
            .collect(),
        ..Default::default()
    }
}

/// Draining endpoints finish what they have and get nothing new; unready ones only if asked for.
fn is_served(endpoint: &Endpoint, publish_not_ready: bool) -> bool {
    match endpoint.health {
        EndpointHealth::Healthy | EndpointHealth::Draining => true,
        EndpointHealth::Unhealthy => publish_not_ready,
    }
}

/// Load is spread over all endpoints, however many of them are unhealthy.
fn policy() -> cluster_load_assignment::Policy {
    cluster_load_assignment::Policy {
        overprovisioning_factor: Some(wire::number(140)),
        ..Default::default()
    }
}

/// The endpoints of one locality.
#[derive(Clone, Debug)]
struct LocalityGroup {
    locality: Locality,
    endpoints: Vec<(LbEndpoint, Labels)>,
}

impl LocalityGroup {
    fn weight(&self) -> u32 {
        let weights = self
            .endpoints
            .iter()
            .map(|(e, _)| e.load_balancing_weight.map_or(1, |w| w.value));
        weights.sum()
    }

    fn into_wire(self) -> LocalityLbEndpoints {
        LocalityLbEndpoints {
            load_balancing_weight: Some(wire::number(self.weight())),
            locality: Some(wire_locality(&self.locality)),
            lb_endpoints: self
                .endpoints
                .into_iter()
                .map(|(endpoint, _)| endpoint)
                .collect(),
            ..Default::default()
        }
    }
}

fn wire_locality(locality: &Locality) -> core::Locality {
    core::Locality {
        region: locality.region.to_string(),
        zone: locality.zone.to_string(),
        sub_zone: locality.subzone.to_string(),
    }
}

fn group<'e>(
    endpoints: impl Iterator<Item = &'e Arc<Endpoint>>,
    mtls: impl Fn(&Endpoint) -> bool,
) -> Vec<LocalityGroup> {
    let mut groups: Vec<LocalityGroup> = Vec::new();
    for endpoint in endpoints {
        let position = groups
            .iter()
            .position(|group| group.locality == endpoint.locality);
        let position = position.unwrap_or_else(|| {
            let locality = endpoint.locality.clone();
            groups.push(LocalityGroup {
                locality,
                endpoints: Vec::new(),
            });
            groups.len() - 1
        });
        let wire = lb_endpoint(endpoint, mtls(endpoint));
        groups[position]
            .endpoints
            .push((wire, endpoint.labels.clone()));
    }
    groups.sort_by(|a, b| a.locality.cmp(&b.locality));
    groups
}

fn lb_endpoint(endpoint: &Endpoint, mtls: bool) -> LbEndpoint {
    let address = match &endpoint.address {
        EndpointAddress::Ip(ip) => wire::address(ip, endpoint.port),
        EndpointAddress::Name(name) => wire::address(name, endpoint.port),
        EndpointAddress::Unix(path) => wire::unix_address(path),
    };
    LbEndpoint {
        host_identifier: Some(HostIdentifier::Endpoint(wire_endpoint::Endpoint {
            address: Some(address),
            ..Default::default()
        })),
        health_status: match endpoint.health {
            EndpointHealth::Healthy => core::HealthStatus::Healthy,
            EndpointHealth::Draining => core::HealthStatus::Draining,
            EndpointHealth::Unhealthy => core::HealthStatus::Unhealthy,
        }
        .into(),
        load_balancing_weight: Some(wire::number(endpoint.weight.max(1))),
        metadata: Some(metadata(endpoint, mtls)),
    }
}

/// `workload;namespace;canonical-name;canonical-revision;cluster` for telemetry, and whether a
/// sidecar takes mesh TLS.
fn metadata(endpoint: &Endpoint, mtls: bool) -> core::Metadata {
    let mut metadata = core::Metadata::default();
    if !endpoint.workload_name.is_empty() {
        let workload = format!(
            "{};{};{};{};Kubernetes",
            endpoint.workload_name,
            endpoint.namespace,
            endpoint.canonical_name,
            endpoint.canonical_revision
        );
        let istio = structs::object([("workload", structs::string(workload))]);
        metadata
            .filter_metadata
            .insert(names::ISTIO_METADATA.to_owned(), istio);
    }
    if mtls {
        let tls_mode = structs::object([("tlsMode", structs::string("istio"))]);
        metadata
            .filter_metadata
            .insert(names::TRANSPORT_SOCKET_MATCH_METADATA.to_owned(), tls_mode);
    }
    metadata
}
