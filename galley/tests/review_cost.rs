//! What a review may cost whoever answers it, through the function that the webhook calls.

use std::sync::Arc;

use galley::manifest::node::Node;
use galley::manifest::{Document, Place};
use galley::store::Store;
use galley::webhook::{Metrics, review};
use mesh_api::mesh_config::MeshConfig;
use serde_json::{Value, json};

fn answer(object: Value) -> Value {
    let request = json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {"uid": "1", "namespace": "shop", "operation": "CREATE", "object": object},
    });
    let answer = review(&request, &MeshConfig::default(), &Metrics::default());
    answer.unwrap()["response"].clone()
}

/// Steps that judging an object takes, and states of the programs of its expressions.
fn cost(object: &Value) -> (u64, u64) {
    let document = Document {
        place: Place::File("review.yaml".into()),
        node: Node::from_json(object),
    };
    let reading = Store::new(MeshConfig::default()).read(&Arc::new(document));
    (reading.steps, reading.program_states)
}

fn virtual_service(spec: Value) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "reviews"},
        "spec": spec,
    })
}

/// A rule with one match for each expression.
fn by_expressions(expressions: &[String]) -> Value {
    let matches: Vec<Value> = expressions
        .iter()
        .map(|expression| json!({"uri": {"regex": expression}}))
        .collect();
    virtual_service(json!({
        "hosts": ["reviews"],
        "http": [{"match": matches, "route": [{"destination": {"host": "reviews"}}]}],
    }))
}

fn message(response: &Value) -> &str {
    response["status"]["message"].as_str().unwrap_or_default()
}

#[test]
fn expressions_are_read_as_the_proxy_reads_them() {
    let admitted = json!({"uid": "1", "allowed": true});
    for expression in [
        r"\w{500}1",
        "/users/{id}/orders",
        r"\pL+",
        r"\p{Greek}",
        r"\Qa.b\E",
        r"\<",
        "é",
        "[a&&b]",
    ] {
        let response = answer(by_expressions(&[expression.to_owned()]));
        assert_eq!(response, admitted, "{expression}");
    }
    for expression in [
        "(",
        r"\C",
        r"\1",
        "a**",
        "(?=a)",
        "a{1001}",
        "((a{30}){30}){30}",
    ] {
        let response = answer(by_expressions(&[expression.to_owned()]));
        assert_eq!(response["allowed"], false, "{expression}");
        let message = message(&response);
        let expected = format!("\"{expression}\" is not a regular expression: ");
        assert!(message.contains(&expected), "{message}");
    }
}

#[test]
fn costly_expressions_are_admitted_at_no_cost() {
    let rule = |count: usize| {
        let numbers = 10..10 + count;
        let expressions = numbers.map(|number| format!(r"\w{{500}}{number}"));
        by_expressions(&expressions.collect::<Vec<_>>())
    };
    assert_eq!(answer(rule(20))["allowed"], true);
    let (none, _) = cost(&rule(0));
    let (one, states_of_one) = cost(&rule(1));
    let (twenty, states) = cost(&rule(20));
    // Programs are measured, not built, and every repetition counts.
    assert!(states_of_one > 500, "{states_of_one} states");
    assert_eq!(states, 20 * states_of_one);
    assert!(one - none < 2_000, "{} steps for an expression", one - none);
    assert_eq!(twenty - none, 20 * (one - none));
}

#[test]
fn too_many_programs_are_refused_as_a_whole() {
    let expressions: Vec<String> = (0..20_000)
        .map(|number| format!(r"\w{{500}}{number}"))
        .collect();
    let response = answer(by_expressions(&expressions));
    assert_eq!(response["allowed"], false);
    assert_eq!(
        message(&response),
        "error[IST0106]: the object takes more work to check than one object may: split it into several"
    );
}

#[test]
fn a_hundred_thousand_hosts_are_admitted() {
    let rule = |hosts: u32| {
        let hosts: Vec<String> = (0..hosts)
            .map(|number| format!("h{number:06}.example.com"))
            .collect();
        virtual_service(json!({
            "hosts": hosts,
            "http": [{"route": [{"destination": {"host": "reviews"}}]}],
        }))
    };
    let response = answer(rule(100_000));
    assert_eq!(response, json!({"uid": "1", "allowed": true}));
    let (few, _) = cost(&rule(10_000));
    let (many, _) = cost(&rule(100_000));
    assert!(
        many < 11 * few,
        "{few} steps, {many} for ten times the hosts"
    );
    assert!(many < 20 * 100_000, "{many} steps");
}

#[test]
fn an_answer_names_a_few_faults_and_counts_the_others() {
    let hosts: Vec<String> = (0..100_000)
        .map(|number| format!("h{number}*.example.com"))
        .collect();
    let response = answer(virtual_service(json!({
        "hosts": hosts,
        "http": [{"route": [{"destination": {"host": "reviews"}}]}],
    })));
    assert_eq!(response["allowed"], false);
    let message = message(&response);
    assert!(
        message.starts_with("error[IST0106] spec.hosts[0]: host name \"h0*.example.com\""),
        "{message}"
    );
    assert!(message.contains("and 99968 more"), "{message}");
    assert!(message.len() < 9000, "{} bytes", message.len());
}

#[test]
fn a_long_value_is_quoted_in_part() {
    let long = "a".repeat(1 << 20);
    for object in [
        virtual_service(json!({"hosts": [long]})),
        virtual_service(json!({(long.clone()): 1})),
        virtual_service(json!({"http": long})),
        virtual_service(json!({"http": [{"timeout": long}]})),
        virtual_service(json!({"http": [{"retries": {"retryOn": long}}]})),
        virtual_service(json!({"http": [{"match": [{"uri": {"regex": long}}]}]})),
        json!({"apiVersion": "networking.istio.io/v1", "kind": long}),
        json!({"apiVersion": format!("{long}.istio.io/v1"), "kind": "Gateway"}),
    ] {
        let response = answer(object);
        assert_eq!(response["allowed"], false);
        assert!(
            message(&response).len() < 20_000,
            "{}",
            message(&response).len()
        );
    }
}

#[test]
fn an_entry_with_more_services_than_a_mesh_can_hold_is_refused() {
    let hosts: Vec<String> = (0..10_000)
        .map(|number| format!("h{number}.example.com"))
        .collect();
    let addresses: Vec<String> = (0..10_000)
        .map(|n| format!("10.0.{}.{}", n / 256, n % 256))
        .collect();
    let response = answer(json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": {"name": "many"},
        "spec": {
            "hosts": hosts,
            "addresses": addresses,
            "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}],
        },
    }));
    assert_eq!(response["allowed"], false);
    assert!(
        message(&response).contains("takes more work"),
        "{}",
        message(&response)
    );
}
