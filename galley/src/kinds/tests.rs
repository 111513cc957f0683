use mesh_api::diagnostic::Diagnostic;
use serde_json::{Value, json};

use super::*;
use crate::kind::{Handling, handling};
use crate::kinds::descriptor::Layout;
use crate::manifest::Place;
use crate::manifest::node::Node;
use crate::object::{self, Reading};
use crate::work::Budget;

fn read(object: &Value) -> Reading {
    let document = Document {
        place: Place::Cluster("1".into()),
        node: Node::from_json(object),
    };
    let context = Context {
        mesh: &MeshConfig::default(),
        config_map: mesh_config::NAME,
        budget: &Budget::default(),
    };
    object::read(&Arc::new(document), &context)
}

fn errors(object: &Value) -> Vec<String> {
    let found = read(object).diagnostics.into_iter();
    let text = |one: Diagnostic| format!("{}: {}", one.field, one.message);
    found
        .filter(|one| one.severity == mesh_api::diagnostic::Severity::Error)
        .map(text)
        .collect()
}

/// An object of a kind, in its newest version.
fn object(kind: Kind, content: Value) -> Value {
    let descriptor = kind.descriptor();
    let version = descriptor.versions[0];
    let api_version = match descriptor.group {
        "" => version.to_owned(),
        group => format!("{group}/{version}"),
    };
    let mut object = match (descriptor.layout, content) {
        (Layout::Spec, content) => json!({"spec": content}),
        (Layout::Whole, content) => content,
    };
    object["apiVersion"] = json!(api_version);
    object["kind"] = json!(descriptor.name);
    object["metadata"] = json!({"name": "a", "namespace": "shop"});
    object
}

#[test]
fn every_kind_reads_its_sample() {
    for kind in Kind::ALL.iter().copied() {
        let object = object(kind, kind.example().1);
        let found = handling(object["apiVersion"].as_str().unwrap(), kind.name());
        assert_eq!(found, Handling::Model(kind));
        let expected: &[&str] = match kind {
            Kind::RequestAuthentication => &[
                "kind: RequestAuthentication is not supported yet: the proxy verifies no tokens; remove \
                 the object and verify them in the application",
            ],
            _ => &[],
        };
        assert_eq!(errors(&object), expected, "{kind:?}");
    }
}

#[test]
fn all_that_is_wrong_is_reported_at_once() {
    let route = object(
        Kind::HttpRoute,
        json!({
            "parentRefs": [{"name": "a", "port": 0}],
            "hostnames": ["a.*"],
            "rules": [
                {"matches": [{"path": {"type": "Suffix", "value": "/a"}}]},
                {"backendRefs": [{"name": "a", "port": 70000}], "retry": {"codes": [200]}},
            ],
        }),
    );
    assert_eq!(
        errors(&route),
        [
            "spec.parentRefs[0].port: port 0 is not between 1 and 65535",
            "spec.hostnames[0]: host name \"a.*\": only the whole leftmost label may be the wildcard '*'",
            "spec.rules[0].matches[0].path: path type \"Suffix\" is not supported",
            "spec.rules[1].retry.codes[0]: 200 is not a status between 400 and 599",
            "spec.rules[1].backendRefs[0].port: port 70000 is not between 1 and 65535",
        ]
    );
}

/// The identity of a pod is made of its namespace.
#[test]
fn what_follows_from_another_error_is_left_out() {
    let mut pod = object(Kind::Pod, json!({"spec": {"containers": []}}));
    pod["metadata"]["namespace"] = json!("a b");
    assert_eq!(
        errors(&pod),
        ["metadata.namespace: \"a b\" is not a legal namespace"]
    );
    pod["metadata"]["namespace"] = json!("shop");
    pod["spec"]["serviceAccountName"] = json!("a b");
    let found = errors(&pod);
    assert_eq!(found.len(), 1);
    assert!(
        found[0].starts_with("spec.serviceAccountName: identity"),
        "{found:?}"
    );
}

#[test]
fn policies_that_are_refused_close_what_they_may_be_about() {
    let kinds = Kind::ALL.iter().copied();
    let closing: Vec<(Kind, &str)> = kinds
        .filter_map(|kind| {
            let reading = read(&object(kind, json!({"unknown": 1, "spec": {"unknown": 1}})));
            Some((
                kind,
                match reading.stand_in?.model {
                    Model::AuthorizationPolicy(policy) if policy.rules.len() == 1 => "denies",
                    Model::PeerAuthentication(policy) if policy.mode.is_some() => {
                        "requires mutual TLS"
                    }
                    other => panic!("{other:?}"),
                },
            ))
        })
        .collect();
    assert_eq!(
        closing,
        [
            (Kind::PeerAuthentication, "requires mutual TLS"),
            (Kind::RequestAuthentication, "denies"),
            (Kind::AuthorizationPolicy, "denies"),
        ]
    );
}
