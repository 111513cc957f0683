//! Resources of a control plane, each type through decoding and application.

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use bytes::Bytes;
use mesh_api::mesh_config::MeshConfig;
use pilot::node::Node;
use proxy::executor::{Executor, InForce};
use proxy::listener::shared::Builder;
use proxy::listener::socket::Sockets;
use proxy::telemetry::log_sink::LogSinks;
use proxy::tls::secret_store::SecretStore;
use proxy_xds::apply::{Applier, Received, Translators};
use proxy_xds::{lds, rds};
use serde_json::json;
use xds::envoy::cluster::Cluster;
use xds::envoy::cluster::cluster::{ClusterDiscoveryType, DiscoveryType, EdsClusterConfig};
use xds::envoy::core::config_source::ConfigSourceSpecifier;
use xds::envoy::core::{self, ConfigSource};
use xds::prost::Message;
use xds::structs;
use xds::type_url::ResourceType;

use crate::target::{Outcome, Target, kind_of, magnitude, outcome};

const WORDS: &[&str] = &[
    "\u{8}\u{1}",
    "\u{12}\u{0}",
    "type.googleapis.com/",
    "10.0.0.1",
    "::1",
    "0.0.0.0/0",
    "*",
    "*.example",
    "[a-z]+",
    "(",
    "%REQ(a)%",
    "%DOWNSTREAM_PEER_URI_SAN%",
];

pub(super) static TARGETS: &[Target] = &[
    resource(
        "xds-cluster",
        |b| apply(ResourceType::Cluster, b),
        || seeds(ResourceType::Cluster),
    ),
    resource(
        "xds-endpoint",
        |b| apply(ResourceType::Endpoint, b),
        || seeds(ResourceType::Endpoint),
    ),
    resource(
        "xds-listener",
        |b| apply(ResourceType::Listener, b),
        || seeds(ResourceType::Listener),
    ),
    resource(
        "xds-route",
        |b| apply(ResourceType::Route, b),
        || seeds(ResourceType::Route),
    ),
    resource("xds-secret", |b| apply(ResourceType::Secret, b), Vec::new),
];

const fn resource(
    name: &'static str,
    run: fn(&[u8]) -> Outcome,
    seeds: fn() -> Vec<Vec<u8>>,
) -> Target {
    Target::new(name, run)
        .seeds(seeds)
        .dictionary(WORDS)
        .bytes_max(64 << 10)
}

/// What is refused is named with a reason; whatever else arrives is published.
fn apply(resource_type: ResourceType, input: &[u8]) -> Outcome {
    // Logs are opened when they are applied: no input may name a file.
    let names_a_file = input.windows(13).any(|window| window == b"FileAccessLog");
    if names_a_file {
        return 0;
    }
    let translators = Translators {
        listener: lds::listener,
        route: rds::route_config,
    };
    let builder = Builder {
        secrets: SecretStore::new(),
        sockets: Sockets::new(0),
        logs: LogSinks::new(),
    };
    let mut applier = Applier::new(
        Executor::new(InForce::default(), builder),
        Arc::default(),
        translators,
        Arc::default(),
    );
    let mut apply = |resource_type, bytes| {
        let resource = Received {
            name: "fuzzed".into(),
            version: "1".into(),
            bytes,
        };
        applier.apply(resource_type, &[resource], &[], Instant::now())
    };
    if resource_type == ResourceType::Endpoint {
        // Endpoints are translated for the clusters that use them.
        apply(ResourceType::Cluster, eds_cluster());
    }
    let refused = apply(resource_type, Bytes::copy_from_slice(input));
    // Routes that no listener names are dropped when it is asked what is wanted.
    let config = applier.config();
    let assignments = config.endpoints.iter().flatten();
    let endpoints: usize = assignments.map(|all| all.endpoints().count()).sum();
    let tables = config.routes.iter().flatten();
    let routes: usize = tables
        .flat_map(|table| &table.virtual_hosts)
        .map(|host| 1 + host.routes.len())
        .sum();
    applier.flush();
    let wanted = applier.wanted();
    let reason = refused.first().map(|(name, reason)| {
        assert_eq!(name, "fuzzed");
        kind_of(reason)
    });
    outcome((
        reason,
        wanted.endpoints.len().min(4),
        wanted.routes.len().min(4),
        wanted.secrets.len().min(4),
        applier.warming().len(),
        magnitude(endpoints),
        magnitude(routes),
    ))
}

fn eds_cluster() -> Bytes {
    let ads = ConfigSource {
        config_source_specifier: Some(ConfigSourceSpecifier::Ads(Default::default())),
        ..Default::default()
    };
    let cluster = Cluster {
        name: "fuzzed".into(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Eds as i32)),
        eds_cluster_config: Some(EdsClusterConfig {
            eds_config: Some(ads),
            ..Default::default()
        }),
        ..Default::default()
    };
    cluster.encode_to_vec().into()
}

/// What pilot generates from the repository's samples and golden cases.
fn seeds(resource_type: ResourceType) -> Vec<Vec<u8>> {
    static GENERATED: LazyLock<Vec<pilot::Resources>> = LazyLock::new(|| {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let golden = repository.join("pilot/tests/golden");
        let meshes: [Vec<PathBuf>; 5] = [
            vec![repository.join("samples/bookinfo")],
            vec![golden.join("gateway/input.yaml")],
            vec![golden.join("gateway_api/input.yaml")],
            vec![golden.join("routing/input.yaml")],
            vec![golden.join("tcp/input.yaml")],
        ];
        let snapshots = meshes.map(|files| galley::load(&files, MeshConfig::default()).0);
        let both = snapshots.iter().map(|snapshot| {
            let nodes = [sidecar(), gateway()];
            nodes.map(|node| pilot::generate(snapshot, &node))
        });
        both.flatten().collect()
    });
    let of_type = GENERATED.iter().filter_map(|all| all.get(&resource_type));
    let bodies = of_type.flat_map(|resources| resources.values());
    let mut seeds: Vec<Vec<u8>> = bodies.map(|body| body.value.to_vec()).collect();
    seeds.sort();
    seeds.dedup();
    seeds
}

fn sidecar() -> Node {
    let id = "sidecar~10.244.0.2~client-1.default~default.svc.cluster.local";
    node(
        id,
        &json!({"LABELS": {"app": "client"}, "SERVICE_ACCOUNT": "client"}),
    )
}

fn gateway() -> Node {
    let id = "router~10.244.0.3~ingress-1.istio-system~istio-system.svc.cluster.local";
    node(
        id,
        &json!({"LABELS": {"istio": "ingressgateway"}, "SERVICE_ACCOUNT": "ingress"}),
    )
}

fn node(id: &str, metadata: &serde_json::Value) -> Node {
    let wire = core::Node {
        id: id.into(),
        user_agent_name: "weft".into(),
        metadata: metadata.as_object().map(structs::from_json),
        ..Default::default()
    };
    Node::from_wire(&wire).expect("the id is complete")
}
