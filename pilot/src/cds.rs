//! Clusters: how to reach a service, one for each port and subset.

mod connection_pool;
mod load_balancer;
mod outlier_detection;
mod static_clusters;
mod tls;

use std::sync::Arc;

use mesh_api::endpoint::ServiceEndpoints;
use mesh_api::mesh_config::MeshConfig;
use mesh_api::service::{Registry, Resolution, Service, ServicePort};
use mesh_api::traffic_policy::PortPolicy;
use mesh_api::traffic_policy::load_balancer::Algorithm;
use xds::envoy::cluster::{self, Cluster, cluster as wire_cluster};
use xds::envoy::core;
use xds::structs;

use crate::eds;
use crate::names;
use crate::scope::Rule;
use crate::shared::Shared;
use crate::wire;

pub(crate) use load_balancer::locality_setting;
pub(crate) use static_clusters::{
    Inbound, InboundTarget, black_hole, inbound, inbound_passthrough, passthrough,
};

/// All that an outbound cluster is made from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Inputs {
    /// The service.
    pub(crate) service: Shared<Service>,
    /// The service's port.
    pub(crate) port: u16,
    /// The subset; `None` for the whole service.
    pub(crate) subset: Option<Arc<str>>,
    /// The destination rule.
    pub(crate) rule: Option<Rule>,
    /// Mesh-wide defaults.
    pub(crate) mesh: Shared<MeshConfig>,
    /// Whether the client is a gateway.
    pub(crate) gateway: bool,
    /// Whether the server refuses mesh TLS.
    pub(crate) mtls_disabled: bool,
    /// Whether the client runs our own proxy.
    pub(crate) weft: bool,
    /// Endpoints, if they travel inside of the cluster.
    pub(crate) embedded_endpoints: Option<Shared<ServiceEndpoints>>,
}

/// How a cluster learns of its endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Discovery {
    /// From us.
    Eds,
    /// By DNS, every address.
    StrictDns,
    /// By DNS, one address at a time.
    LogicalDns,
    /// From the connection itself.
    OriginalDst,
}

/// How the endpoints of a service reach the proxy.
pub(crate) fn discovery(service: &Service, gateway: bool) -> Discovery {
    match service.resolution {
        Resolution::Static | Resolution::Alias => Discovery::Eds,
        Resolution::Dns => Discovery::StrictDns,
        Resolution::DnsRoundRobin => Discovery::LogicalDns,
        // Connections to a gateway were not going anywhere else.
        Resolution::Passthrough if gateway && service.registry == Registry::Kubernetes => {
            Discovery::Eds
        }
        Resolution::Passthrough | Resolution::DynamicDns => Discovery::OriginalDst,
    }
}

impl Inputs {
    /// The cluster's name.
    pub(crate) fn name(&self) -> String {
        names::outbound_cluster(self.port, self.subset_name(), &self.service.hostname)
    }

    /// How the cluster learns of its endpoints.
    pub(crate) fn discovery(&self) -> Discovery {
        discovery(&self.service, self.gateway)
    }

    fn subset_name(&self) -> &str {
        self.subset.as_deref().unwrap_or_default()
    }

    fn service_port(&self) -> Option<&ServicePort> {
        self.service.port(self.port)
    }

    /// The policy for the cluster's port and subset.
    pub(crate) fn effective_policy(&self) -> PortPolicy {
        let policy = self
            .rule
            .as_ref()
            .map(|rule| rule.effective(self.subset.as_deref()));
        policy.unwrap_or_default().for_port(self.port)
    }
}

/// Makes the cluster.
pub(crate) fn generate(inputs: &Inputs) -> Cluster {
    let policy = inputs.effective_policy();
    let name = inputs.name();
    let mut cluster = Cluster {
        alt_stat_name: names::stat_prefix(&name),
        metadata: Some(metadata(inputs)),
        common_lb_config: Some(wire_cluster::CommonLbConfig::default()),
        name,
        ..Default::default()
    };
    discover(&mut cluster, inputs, &policy);
    load_balancer::apply(&mut cluster, inputs, &policy);
    outlier_detection::apply(&mut cluster, &policy);
    connection_pool::apply(&mut cluster, inputs, &policy);
    tls::apply(&mut cluster, inputs, &policy);
    cluster
}

fn discover(cluster: &mut Cluster, inputs: &Inputs, policy: &PortPolicy) {
    let passthrough = policy
        .load_balancer
        .as_ref()
        .is_some_and(|balancer| balancer.algorithm == Algorithm::Passthrough);
    let discovery = if passthrough {
        Discovery::OriginalDst
    } else {
        inputs.discovery()
    };
    let wire_type = match discovery {
        Discovery::Eds => wire_cluster::DiscoveryType::Eds,
        Discovery::StrictDns => wire_cluster::DiscoveryType::StrictDns,
        Discovery::LogicalDns => wire_cluster::DiscoveryType::LogicalDns,
        Discovery::OriginalDst => wire_cluster::DiscoveryType::OriginalDst,
    };
    cluster.cluster_discovery_type =
        Some(wire_cluster::ClusterDiscoveryType::Type(wire_type.into()));
    match discovery {
        Discovery::Eds => {
            cluster.eds_cluster_config = Some(wire_cluster::EdsClusterConfig {
                eds_config: Some(wire::ads()),
                service_name: cluster.name.clone(),
            });
        }
        Discovery::StrictDns | Discovery::LogicalDns => {
            cluster.load_assignment = Some(eds::generate_embedded(inputs));
            cluster.dns_lookup_family = wire_cluster::DnsLookupFamily::V4Only.into();
        }
        Discovery::OriginalDst => {}
    }
}

/// Who the cluster is, for telemetry and for people.
fn metadata(inputs: &Inputs) -> core::Metadata {
    let service = &inputs.service;
    let identity = structs::object([
        ("host", structs::string(service.hostname.as_str())),
        ("name", structs::string(&*service.name)),
        ("namespace", structs::string(service.meta.namespace())),
    ]);
    let mut fields = vec![("services", structs::list([structs::nested(identity)]))];
    fields.push(("default_original_port", structs::number(inputs.port.into())));
    if let Some(rule) = &inputs.rule {
        fields.push(("config", structs::string(rule.config_path())));
    }
    if let Some(subset) = &inputs.subset {
        fields.push(("subset", structs::string(&**subset)));
    }
    if service.mesh_external {
        fields.push(("external", structs::boolean(true)));
    }
    let istio = structs::object(fields);
    core::Metadata {
        filter_metadata: [(names::ISTIO_METADATA.to_owned(), istio)].into(),
        ..Default::default()
    }
}

/// The circuit breaker of a cluster without limits. Envoy's own default is 1024 of everything.
fn unlimited() -> cluster::circuit_breakers::Thresholds {
    cluster::circuit_breakers::Thresholds {
        max_connections: Some(wire::number(u32::MAX)),
        max_pending_requests: Some(wire::number(u32::MAX)),
        max_requests: Some(wire::number(u32::MAX)),
        max_retries: Some(wire::number(u32::MAX)),
        track_remaining: true,
        ..Default::default()
    }
}
