//! Settings of the mesh and of services that single resources must show.

use std::sync::Arc;

use mesh_api::mesh_config::MeshConfig;
use mesh_api::snapshot::ServiceKey;
use mesh_api::traffic_policy::tls::TlsVersion;
use xds::envoy::endpoint::ClusterLoadAssignment;
use xds::envoy::listener::Listener;
use xds::envoy::tls::DownstreamTlsContext;
use xds::envoy::tls::tls_parameters::TlsProtocol;
use xds::prost::Message;
use xds::type_url::ResourceType;

use super::fixture::*;
use crate::app::generate;
use crate::node::Node;

const REVIEWS: &str = "outbound|9080||reviews.default.svc.cluster.local";

/// The addresses of the reviews that a proxy sees.
fn reviews(mesh: &Mesh, node: &Node) -> Vec<String> {
    let resources = generate(&Arc::new(mesh.snapshot.clone()), node);
    let assignment = &resources[&ResourceType::Endpoint][REVIEWS];
    let assignment = ClusterLoadAssignment::decode(assignment.value.clone()).unwrap();
    let endpoints = assignment.endpoints.iter().flat_map(|e| &e.lb_endpoints);
    let mut addresses: Vec<String> = endpoints
        .map(|endpoint| {
            use xds::envoy::core::address::Address;
            use xds::envoy::endpoint::lb_endpoint::HostIdentifier;
            let Some(HostIdentifier::Endpoint(endpoint)) = &endpoint.host_identifier else {
                panic!("an endpoint by address");
            };
            match endpoint.address.as_ref().and_then(|a| a.address.as_ref()) {
                Some(Address::SocketAddress(address)) => address.address.clone(),
                other => panic!("{other:?}"),
            }
        })
        .collect();
    addresses.sort();
    addresses
}

/// Puts the pods of reviews on machines of their own, `machine-0` to `machine-2`.
fn spread(mesh: &mut Mesh, node_local: bool) {
    let key = ServiceKey {
        hostname: "reviews.default.svc.cluster.local".parse().unwrap(),
        namespace: "default".into(),
    };
    let service = edit(&mut mesh.snapshot.services).get_mut(&key).unwrap();
    Arc::make_mut(service).node_local = node_local;
    let endpoints = edit(&mut mesh.snapshot.endpoints).get_mut(&key).unwrap();
    for of_port in Arc::make_mut(endpoints).by_port.values_mut() {
        for (n, endpoint) in of_port.iter_mut().enumerate() {
            Arc::make_mut(endpoint).node = format!("machine-{n}").into();
        }
    }
}

fn place(mesh: &mut Mesh, ip: &str, machine: &str) {
    let workloads = edit(&mut mesh.snapshot.workloads);
    let workload = workloads.get_mut(&ip.parse().unwrap()).unwrap();
    Arc::make_mut(workload).node = machine.into();
}

#[test]
fn a_service_with_local_traffic_policy_is_served_by_the_clients_machine() {
    let client = sidecar("productpage", "v1", "10.244.0.0", "weft");
    let mut mesh = Mesh::bookinfo();
    spread(&mut mesh, false);
    place(&mut mesh, "10.244.0.0", "machine-1");
    let all = ["10.244.2.0", "10.244.2.1", "10.244.2.2"];
    assert_eq!(reviews(&mesh, &client), all);
    spread(&mut mesh, true);
    assert_eq!(reviews(&mesh, &client), ["10.244.2.1"]);
    place(&mut mesh, "10.244.0.0", "elsewhere");
    assert_eq!(
        reviews(&mesh, &client),
        [""; 0],
        "as in Kubernetes, none but local ones"
    );
}

#[test]
fn servers_of_the_mesh_ask_for_the_version_of_tls_that_it_sets() {
    for (version, expected) in [
        (TlsVersion::V1_2, TlsProtocol::TlSv12),
        (TlsVersion::V1_3, TlsProtocol::TlSv13),
    ] {
        let mut mesh = Mesh::bookinfo();
        mesh.snapshot.mesh = Arc::new(MeshConfig {
            mesh_mtls_min_version: version,
            ..MeshConfig::default()
        });
        let node = sidecar("reviews", "v1", "10.244.2.0", "weft");
        let resources = generate(&mesh.snapshot(), &node);
        let listener = &resources[&ResourceType::Listener]["virtualInbound"];
        let listener = Listener::decode(listener.value.clone()).unwrap();
        let sockets = listener.filter_chains.iter().filter_map(|chain| {
            use xds::envoy::core::transport_socket::ConfigType;
            match chain.transport_socket.as_ref()?.config_type.as_ref()? {
                ConfigType::TypedConfig(any) => Some(any),
            }
        });
        let minima: Vec<i32> = sockets
            .map(|any| {
                let context = DownstreamTlsContext::decode(any.value.as_slice()).unwrap();
                let common = context.common_tls_context.unwrap();
                common.tls_params.unwrap().tls_minimum_protocol_version
            })
            .collect();
        assert!(!minima.is_empty());
        assert!(
            minima.iter().all(|found| *found == i32::from(expected)),
            "{minima:?}"
        );
    }
}
