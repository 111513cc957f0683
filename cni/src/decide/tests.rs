//! Pods and what becomes of them.

use rstest::rstest;
use serde_json::{Value, json};

use redirect::{InboundMode, Ports, Ranges};

use super::*;

fn injected() -> Value {
    json!({
        "metadata": {"annotations": {STATUS: "{}"}},
        "spec": {"containers": [
            {"name": "app"},
            {"name": "istio-proxy", "args": ["sidecar"]},
        ]},
    })
}

/// The injected pod with `change` merged over it.
fn decided(change: Value) -> Result<Decision, AnnotationError> {
    fn merge(target: &mut Value, change: Value) {
        match (target, change) {
            (Value::Object(target), Value::Object(change)) => {
                for (key, value) in change {
                    merge(target.entry(key).or_insert(Value::Null), value);
                }
            }
            (target, change) => *target = change,
        }
    }
    let mut pod = injected();
    merge(&mut pod, change);
    decide(&serde_json::from_value(pod).unwrap())
}

fn annotated(annotations: Value) -> Result<Decision, AnnotationError> {
    decided(json!({"metadata": {"annotations": annotations}}))
}

fn proxy(proxy: Value) -> Result<Decision, AnnotationError> {
    decided(json!({"spec": {"containers": [proxy]}}))
}

fn captured(capture: Capture) -> Result<Decision, AnnotationError> {
    Ok(Decision::Capture(Box::new(capture)))
}

#[test]
fn an_injected_pod_is_captured_as_by_the_init_container() {
    assert_eq!(decided(json!({})), captured(Capture::default()));
}

#[test]
fn a_native_sidecar_is_a_proxy() {
    let native = json!({"spec": {
        "containers": [{"name": "app"}],
        "initContainers": [{"name": "istio-validation"}, {"name": "istio-proxy", "args": ["sidecar"]}],
    }});
    assert_eq!(decided(native), captured(Capture::default()));
}

#[test]
fn a_proxy_injected_by_istio_is_a_proxy() {
    let found =
        proxy(json!({"name": "istio-proxy", "args": ["proxy", "sidecar", "--domain", "x"]}));
    assert_eq!(found, captured(Capture::default()));
}

#[rstest]
#[case::host_network(json!({"spec": {"hostNetwork": true}}), "it uses the node's network")]
#[case::init_container(
    json!({"spec": {"initContainers": [{"name": "istio-init"}]}}),
    "its init container istio-init sets up capture"
)]
#[case::no_proxy(json!({"spec": {"containers": [{"name": "app"}]}}), "it has no container istio-proxy")]
#[case::gateway(
    json!({"spec": {"containers": [{"name": "istio-proxy", "args": ["router"]}]}}),
    "its proxy is a gateway"
)]
#[case::label(json!({"metadata": {"labels": {INJECT: "false"}}}), "it declines injection")]
#[case::annotation(json!({"metadata": {"annotations": {INJECT: "False"}}}), "it declines injection")]
#[case::no_status(json!({"metadata": {"annotations": null}}), "it is not injected")]
#[case::no_interception(
    json!({"metadata": {"annotations": {INTERCEPTION_MODE: "NONE"}}}),
    "its interception mode is NONE"
)]
fn skipped(#[case] change: Value, #[case] reason: &'static str) {
    assert_eq!(decided(change), Ok(Decision::Skip(reason)));
}

#[test]
fn the_label_wins_over_the_annotation() {
    let both = json!({"metadata": {"labels": {INJECT: "true"}, "annotations": {INJECT: "false"}}});
    assert_eq!(decided(both), captured(Capture::default()));
}

#[test]
fn annotations_say_what_is_captured() {
    let found = annotated(json!({
        INTERCEPTION_MODE: "TPROXY",
        "traffic.sidecar.istio.io/includeOutboundIPRanges": "10.0.0.0/8",
        "traffic.sidecar.istio.io/excludeOutboundIPRanges": "10.1.0.0/16,10.2.0.0/16",
        "traffic.sidecar.istio.io/includeInboundPorts": "8080",
        "traffic.sidecar.istio.io/excludeInboundPorts": "15020,9999",
        "traffic.sidecar.istio.io/includeOutboundPorts": "443",
        "traffic.sidecar.istio.io/excludeOutboundPorts": "3306, 6379",
        "traffic.sidecar.istio.io/excludeInterfaces": "eth1",
        "traffic.sidecar.istio.io/kubevirtInterfaces": "old0",
        "istio.io/reroute-virtual-interfaces": "net1,net2",
    }));
    let range = |text: &str| text.parse().unwrap();
    let expected = Capture {
        inbound_mode: InboundMode::Tproxy,
        include_ranges: Ranges::List(vec![range("10.0.0.0/8")]),
        exclude_ranges: vec![range("10.1.0.0/16"), range("10.2.0.0/16")],
        include_inbound_ports: Ports::List([8080].into()),
        exclude_inbound_ports: [9999, 15020, 15021, 15090].into(),
        include_outbound_ports: [443].into(),
        exclude_outbound_ports: [3306, 6379].into(),
        exclude_interfaces: vec!["eth1".to_owned()],
        reroute_interfaces: vec!["net1".to_owned(), "net2".to_owned()],
        ..Capture::default()
    };
    assert_eq!(found, captured(expected));
}

#[rstest]
#[case::own(json!({"runAsUser": 2000, "runAsGroup": 3000}), 2000, 3000)]
#[case::root_is_everybody(json!({"runAsUser": 0, "runAsGroup": 1337}), 1337, 1337)]
#[case::not_said(json!({}), 1337, 1337)]
fn the_proxys_user_is_exempt(#[case] context: Value, #[case] uid: u32, #[case] gid: u32) {
    let expected = Capture {
        proxy_uids: vec![uid],
        proxy_gids: vec![gid],
        ..Capture::default()
    };
    let found = proxy(json!({"name": "istio-proxy", "securityContext": context}));
    assert_eq!(found, captured(expected));
}

#[rstest]
#[case::mode(INTERCEPTION_MODE, "TRPOXY")]
#[case::port("traffic.sidecar.istio.io/excludeOutboundPorts", "33o6")]
#[case::all_ports("traffic.sidecar.istio.io/includeOutboundPorts", "*")]
#[case::range("traffic.sidecar.istio.io/includeOutboundIPRanges", "10.0.0.0/33")]
#[case::all_ranges("traffic.sidecar.istio.io/excludeOutboundIPRanges", "*")]
fn what_cannot_be_understood_is_an_error(#[case] name: &str, #[case] value: &str) {
    let error = annotated(json!({name: value})).unwrap_err();
    assert_eq!(error.to_string(), format!("annotation \"{name}\""));
}
