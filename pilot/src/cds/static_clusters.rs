//! Clusters that every proxy has, and those to its own application.

use std::net::IpAddr;
use std::time::Duration;

use mesh_api::mesh_config::{InboundPolicy, MeshConfig};
use mesh_api::port::Protocol;
use mesh_api::traffic_policy::connection_pool::ConnectionPool;
use xds::envoy::cluster::{CircuitBreakers, Cluster, cluster as wire_cluster};
use xds::envoy::{core, endpoint};
use xds::pb::google::protobuf::UInt32Value;
use xds::structs;

use super::connection_pool::{self, UpstreamProtocol};
use super::unlimited;
use crate::shared::Shared;
use crate::{names, wire};

/// The address that a proxy uses towards its application, so that capture leaves the connection
/// alone.
const LOOPBACK_SOURCE: &str = "127.0.0.6";

/// All that a cluster to the own application is made from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Inbound {
    /// The workload's port.
    pub(crate) port: u16,
    /// What is spoken.
    pub(crate) protocol: Protocol,
    /// Where the application listens.
    pub(crate) target: InboundTarget,
    /// Limits.
    pub(crate) pool: ConnectionPool,
    /// Mesh-wide defaults.
    pub(crate) mesh: Shared<MeshConfig>,
    /// Host, name and namespace of the services with this port.
    pub(crate) services: Vec<[String; 3]>,
}

/// Where an application listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum InboundTarget {
    /// Where the connection was going.
    Original,
    /// At an address.
    Address(IpAddr, u16),
    /// At a Unix socket.
    Unix(String),
}

/// Forwards to where the connection was going.
pub(crate) fn passthrough(mesh: &MeshConfig) -> Cluster {
    let mut cluster = original_dst(names::PASSTHROUGH_CLUSTER, mesh);
    connection_pool::set_protocol(
        &mut cluster,
        UpstreamProtocol::Client,
        &ConnectionPool::default(),
    );
    cluster
}

/// Forwards nowhere.
pub(crate) fn black_hole(mesh: &MeshConfig) -> Cluster {
    Cluster {
        name: names::BLACK_HOLE_CLUSTER.to_owned(),
        connect_timeout: Some(wire::duration(mesh.connect_timeout)),
        cluster_discovery_type: discovery(wire_cluster::DiscoveryType::Static),
        load_assignment: Some(endpoint::ClusterLoadAssignment {
            cluster_name: names::BLACK_HOLE_CLUSTER.to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// Forwards to the application on ports that no service has.
pub(crate) fn inbound_passthrough(mesh: &MeshConfig) -> Cluster {
    let mut cluster = original_dst(names::INBOUND_PASSTHROUGH_CLUSTER, mesh);
    cluster.upstream_bind_config = Some(loopback_source());
    connection_pool::set_protocol(
        &mut cluster,
        UpstreamProtocol::Client,
        &ConnectionPool::default(),
    );
    cluster
}

/// Forwards to the application on a port of a service.
pub(crate) fn inbound(inputs: &Inbound) -> Cluster {
    let name = names::inbound_cluster(inputs.port);
    let mut cluster = original_dst(&name, &inputs.mesh);
    cluster.alt_stat_name = names::stat_prefix(&name);
    cluster.metadata = Some(metadata(inputs));
    let fixed = match &inputs.target {
        InboundTarget::Address(ip, port) => Some(wire::address(ip, *port)),
        InboundTarget::Unix(path) => Some(wire::unix_address(path)),
        InboundTarget::Original if inputs.mesh.inbound_policy == InboundPolicy::Localhost => {
            Some(wire::address("127.0.0.1", inputs.port))
        }
        InboundTarget::Original => None,
    };
    match fixed {
        Some(address) => {
            cluster.cluster_discovery_type = discovery(wire_cluster::DiscoveryType::Static);
            cluster.lb_policy = wire_cluster::LbPolicy::RoundRobin.into();
            cluster.cleanup_interval = None;
            cluster.load_assignment = Some(one_endpoint(&name, address));
        }
        None => cluster.upstream_bind_config = Some(loopback_source()),
    }
    connection_pool::apply_pool(&mut cluster, &inputs.pool, &inputs.mesh);
    let protocol = if inputs.protocol.is_http2() {
        UpstreamProtocol::Http2
    } else if inputs.protocol.is_auto() {
        UpstreamProtocol::Client
    } else if inputs.protocol.is_http() {
        UpstreamProtocol::Http1
    } else {
        UpstreamProtocol::Tcp
    };
    connection_pool::set_protocol(&mut cluster, protocol, &inputs.pool);
    cluster
}

fn original_dst(name: &str, mesh: &MeshConfig) -> Cluster {
    Cluster {
        name: name.to_owned(),
        connect_timeout: Some(wire::duration(mesh.connect_timeout)),
        cluster_discovery_type: discovery(wire_cluster::DiscoveryType::OriginalDst),
        lb_policy: wire_cluster::LbPolicy::ClusterProvided.into(),
        // Destinations that are not used are forgotten after this time.
        cleanup_interval: Some(wire::duration(Duration::from_secs(60))),
        circuit_breakers: Some(CircuitBreakers {
            thresholds: vec![unlimited()],
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn loopback_source() -> core::BindConfig {
    core::BindConfig {
        source_address: Some(core::SocketAddress {
            address: LOOPBACK_SOURCE.to_owned(),
            port_specifier: Some(core::socket_address::PortSpecifier::PortValue(0)),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn one_endpoint(name: &str, address: core::Address) -> endpoint::ClusterLoadAssignment {
    let identifier = endpoint::lb_endpoint::HostIdentifier::Endpoint(endpoint::Endpoint {
        address: Some(address),
        ..Default::default()
    });
    endpoint::ClusterLoadAssignment {
        cluster_name: name.to_owned(),
        endpoints: vec![endpoint::LocalityLbEndpoints {
            lb_endpoints: vec![endpoint::LbEndpoint {
                host_identifier: Some(identifier),
                load_balancing_weight: Some(UInt32Value { value: 1 }),
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn metadata(inputs: &Inbound) -> core::Metadata {
    let services = inputs.services.iter().map(|[host, name, namespace]| {
        structs::nested(structs::object([
            ("host", structs::string(host)),
            ("name", structs::string(name)),
            ("namespace", structs::string(namespace)),
        ]))
    });
    let istio = structs::object([("services", structs::list(services))]);
    core::Metadata {
        filter_metadata: [(names::ISTIO_METADATA.to_owned(), istio)].into(),
        ..Default::default()
    }
}

fn discovery(wire_type: wire_cluster::DiscoveryType) -> Option<wire_cluster::ClusterDiscoveryType> {
    Some(wire_cluster::ClusterDiscoveryType::Type(wire_type.into()))
}
