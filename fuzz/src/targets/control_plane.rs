//! What proxies and control planes send each other around the resources.

use pilot::node::Node;
use serde_json::json;
use xds::envoy::core;
use xds::envoy::discovery::DeltaDiscoveryRequest;
use xds::prost::Message;
use xds::resource::{Any, DeltaDiscoveryResponse, Resource};
use xds::structs;
use xds::type_url::ResourceType;

use crate::target::{Outcome, Target, kind_of, magnitude, outcome};

pub(super) static TARGETS: &[Target] = &[
    Target::new("xds-request", request)
        .seeds(requests)
        .dictionary(&[
            "sidecar~",
            "router~",
            "~",
            ".",
            "LABELS",
            "ISTIO_VERSION",
            "INSTANCE_IPS",
            "a,b",
            "::1",
        ]),
    Target::new("xds-response", response)
        .seeds(responses)
        .dictionary(&[
            "type.googleapis.com/",
            "envoy.config.cluster.v3.Cluster",
            "\u{a}\u{0}",
        ]),
];

/// What pilot reads of a request before it knows who sends it.
fn request(input: &[u8]) -> Outcome {
    let Ok(request) = DeltaDiscoveryRequest::decode(input) else {
        return outcome("undecodable");
    };
    let resource_type = ResourceType::from_url(&request.type_url);
    let names = magnitude(request.resource_names_subscribe.len());
    let node = request.node.map(|node| match Node::from_wire(&node) {
        Ok(node) => outcome((
            node.ips.len().min(4),
            node.labels.len().min(4),
            node.is_weft(),
            node.canonical_name().is_empty(),
        )),
        Err(error) => kind_of(&error.to_string()),
    });
    outcome((resource_type, names, node))
}

fn requests() -> Vec<Vec<u8>> {
    let metadata = json!({
        "LABELS": {"app": "client", "version": "v1"},
        "SERVICE_ACCOUNT": "client",
        "NAMESPACE": "default",
        "INSTANCE_IPS": "10.244.0.2,fd00::2",
        "ISTIO_VERSION": "1.27.0",
        "INTERCEPTION_MODE": "TPROXY",
        "HTTP10": "1",
    });
    let node = core::Node {
        id: "sidecar~10.244.0.2~client-1.default~default.svc.cluster.local".into(),
        user_agent_name: "envoy".into(),
        metadata: metadata.as_object().map(structs::from_json),
        locality: Some(core::Locality {
            region: "east".into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let request = DeltaDiscoveryRequest {
        node: Some(node),
        type_url: ResourceType::Cluster.url().into(),
        resource_names_subscribe: vec!["*".into()],
        ..Default::default()
    };
    vec![request.encode_to_vec()]
}

fn response(input: &[u8]) -> Outcome {
    let Ok(response) = DeltaDiscoveryResponse::decode(input) else {
        return outcome("undecodable");
    };
    // What is decoded can be sent on, and says the same then.
    let again = DeltaDiscoveryResponse::decode(response.encode_to_vec().as_slice());
    assert_eq!(again.as_ref(), Ok(&response));
    let bodies = response.resources.iter().filter(|r| r.resource.is_some());
    outcome((
        ResourceType::from_url(&response.type_url),
        bodies.count().min(4),
        response.removed_resources.len().min(4),
        response.control_plane.is_some(),
    ))
}

fn responses() -> Vec<Vec<u8>> {
    let cluster = xds::envoy::cluster::Cluster {
        name: "outbound|80||a.default.svc.cluster.local".into(),
        ..Default::default()
    };
    let response = DeltaDiscoveryResponse {
        type_url: ResourceType::Cluster.url().into(),
        nonce: "1".into(),
        resources: vec![Resource {
            name: cluster.name.clone(),
            version: "1".into(),
            resource: Some(Any::pack(&cluster)),
            ..Default::default()
        }],
        removed_resources: vec!["gone".into()],
        ..Default::default()
    };
    vec![response.encode_to_vec()]
}
