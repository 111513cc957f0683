//! An unmodified Envoy accepts what is generated, without a warning.
//!
//! Resources that Envoy would fetch are put in place first (routes into their listeners,
//! endpoints into their clusters), so that they are validated too. `WEFT_ENVOY` names Envoy's binary;
//! without it the tests fail, or are skipped by `WEFT_SKIP=envoy`.

mod meshes;
mod samples;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use mesh_api::snapshot::Snapshot;
use xds::envoy::cluster::{Cluster, cluster as wire_cluster};
use xds::envoy::endpoint::ClusterLoadAssignment;
use xds::envoy::listener::{self, Listener};
use xds::envoy::network::http_connection_manager::{
    HttpConnectionManager, http_connection_manager::RouteSpecifier,
};
use xds::envoy::route::RouteConfiguration;
use xds::envoy::{bootstrap, core, tls};
use xds::prost::{Message, Name};
use xds::resource::{Any, pack};
use xds::type_url::ResourceType;

use super::fixture;
use crate::app::{Resources, generate};
use crate::node::Node;

/// Checks a node's resources.
fn check(case: &str, snapshot: &Arc<Snapshot>, node: &Node) {
    let resources = generate(snapshot, node);
    let bootstrap = bootstrap(node, &resources);
    let Some(envoy) = envoy(case) else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bootstrap.pb");
    std::fs::write(&file, bootstrap.encode_to_vec()).unwrap();
    let output = validate(envoy.as_ref(), &file);
    let complaints: Vec<_> = output
        .lines()
        .filter(|line| {
            line.contains("[warning]") || line.contains("[error]") || line.contains("[critical]")
        })
        .collect();
    assert!(
        output.contains("configuration 'OK'") || output.contains("OK"),
        "{case}: {output}"
    );
    assert!(complaints.is_empty(), "{case}: {complaints:#?}");
}

/// Envoy's binary; `None` if what needs it is to be skipped.
pub(super) fn envoy(case: &str) -> Option<OsString> {
    if let Some(envoy) = std::env::var_os("WEFT_ENVOY") {
        return Some(envoy);
    }
    let skipped = std::env::var("WEFT_SKIP").unwrap_or_default();
    assert!(
        skipped.split(',').any(|name| name == "envoy"),
        "WEFT_ENVOY does not name Envoy's binary: \"make envoy\" installs it, and WEFT_SKIP=envoy skips this test"
    );
    report(&format!("pilot: {case} was not shown to Envoy (WEFT_SKIP)"));
    None
}

/// Says something past the harness, which shows what a test prints only when it fails.
fn report(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn validate(envoy: &Path, bootstrap: &Path) -> String {
    let output = Command::new(envoy)
        .args(["--mode", "validate", "--log-level", "warning", "-c"])
        .arg(bootstrap)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(
        output.status.success(),
        "envoy refused the configuration: {text}"
    );
    text
}

fn bootstrap(node: &Node, resources: &Resources) -> bootstrap::Bootstrap {
    let routes = decoded::<RouteConfiguration>(resources, ResourceType::Route);
    let assignments = decoded::<ClusterLoadAssignment>(resources, ResourceType::Endpoint);
    let clusters = decoded::<Cluster>(resources, ResourceType::Cluster).into_values();
    let clusters = clusters.map(|cluster| with_endpoints(cluster, &assignments));
    let listeners = decoded::<Listener>(resources, ResourceType::Listener).into_values();
    let listeners = listeners.map(|listener| with_routes(listener, &routes));
    bootstrap::Bootstrap {
        node: Some(core::Node {
            id: node.id.clone(),
            cluster: "test".into(),
            ..Default::default()
        }),
        static_resources: Some(bootstrap::bootstrap::StaticResources {
            clusters: clusters
                .chain([static_cluster("sds-grpc"), static_cluster("xds-grpc")])
                .collect(),
            listeners: listeners.collect(),
            secrets: decoded::<tls::Secret>(resources, ResourceType::Secret)
                .into_values()
                .collect(),
        }),
        dynamic_resources: Some(bootstrap::bootstrap::DynamicResources {
            ads_config: Some(core::ApiConfigSource {
                api_type: core::api_config_source::ApiType::DeltaGrpc.into(),
                transport_api_version: core::ApiVersion::V3.into(),
                grpc_services: vec![core::GrpcService {
                    target_specifier: Some(core::grpc_service::TargetSpecifier::EnvoyGrpc(
                        core::grpc_service::EnvoyGrpc {
                            cluster_name: "xds-grpc".into(),
                            ..Default::default()
                        },
                    )),
                    ..Default::default()
                }],
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn decoded<M: Message + Name + Default>(
    resources: &Resources,
    resource_type: ResourceType,
) -> BTreeMap<String, M> {
    let of_type = resources.get(&resource_type).into_iter().flatten();
    of_type
        .map(|(name, body): (&String, &Any)| (name.clone(), body.unpack().unwrap()))
        .collect()
}

fn with_endpoints(
    mut cluster: Cluster,
    assignments: &BTreeMap<String, ClusterLoadAssignment>,
) -> Cluster {
    let Some(eds) = cluster.eds_cluster_config.take() else {
        return cluster;
    };
    let assignment = assignments.get(&eds.service_name);
    cluster.load_assignment = Some(
        assignment
            .expect("every EDS cluster has an assignment")
            .clone(),
    );
    cluster.cluster_discovery_type = Some(wire_cluster::ClusterDiscoveryType::Type(
        wire_cluster::DiscoveryType::Static.into(),
    ));
    cluster
}

fn with_routes(mut listener: Listener, routes: &BTreeMap<String, RouteConfiguration>) -> Listener {
    for filter in listener
        .filter_chains
        .iter_mut()
        .flat_map(|chain| &mut chain.filters)
    {
        let Some(listener::filter::ConfigType::TypedConfig(any)) = &mut filter.config_type else {
            continue;
        };
        if any.type_url != HttpConnectionManager::type_url() {
            continue;
        }
        let mut manager = HttpConnectionManager::decode(&*any.value).unwrap();
        if let Some(RouteSpecifier::Rds(rds)) = &manager.route_specifier {
            let config = routes.get(&rds.route_config_name);
            let config =
                config.unwrap_or_else(|| panic!("no routes \"{}\"", rds.route_config_name));
            manager.route_specifier = Some(RouteSpecifier::RouteConfig(config.clone()));
        }
        *any = pack(&manager);
    }
    listener
}

/// A cluster that a bootstrap brings along.
fn static_cluster(name: &str) -> Cluster {
    Cluster {
        name: name.into(),
        load_assignment: Some(ClusterLoadAssignment {
            cluster_name: name.into(),
            ..Default::default()
        }),
        typed_extension_protocol_options: crate::cds::passthrough(&Default::default())
            .typed_extension_protocol_options,
        ..Default::default()
    }
}
