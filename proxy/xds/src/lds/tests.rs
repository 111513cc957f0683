//! Listeners from JSON, as control planes send them.

use std::sync::Arc;

use rstest::rstest;
use serde_json::{Value, json};
use xds::prost::Message;

use super::*;
use crate::config::listener::{ListenerFilterKind, Predicate};
use crate::config::names::Names;
use crate::config::secret::ResourceSource;
use crate::context::Node;

fn translate(json: &Value, previous: Option<Arc<Listener>>) -> Result<Listener, ConfigError> {
    let proto: proto::Listener = xds::json::Json::load().decode(json).unwrap();
    let mut context = ApplyContext {
        names: &mut Names::default(),
        previous_listener: previous,
        further_filters: &[],
        node: &Arc::new(Node::default()),
        source: ResourceSource {
            version: "1".into(),
            bytes: proto.encode_to_vec().into(),
        },
    };
    listener(&proto, &mut context)
}

fn chain(name: &str, server_name: &str, cluster: &str) -> Value {
    let tcp_proxy = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy";
    json!({
        "name": name,
        "filter_chain_match": {"server_names": [server_name]},
        "filters": [{
            "name": "tcp",
            "typed_config": {"@type": tcp_proxy, "stat_prefix": "t", "cluster": cluster},
        }],
    })
}

fn with(chains: &[Value]) -> Value {
    json!({
        "name": "test",
        "address": {"socket_address": {"address": "0.0.0.0", "port_value": 9080}},
        "bind_to_port": false,
        "filter_chains": chains,
    })
}

#[test]
fn an_update_keeps_the_chains_that_did_not_change() {
    let first = with(&[chain("a", "a.com", "one"), chain("b", "b.com", "one")]);
    let first = Arc::new(translate(&first, None).unwrap());
    let second = with(&[
        chain("b", "b.com", "one"),
        chain("a", "a.com", "two"),
        chain("c", "c.com", "one"),
    ]);
    let second = translate(&second, Some(first.clone())).unwrap();
    assert!(Arc::ptr_eq(
        &second.filter_chains[0],
        &first.filter_chains[1]
    ));
    assert!(!Arc::ptr_eq(
        &second.filter_chains[1],
        &first.filter_chains[0]
    ));
}

#[test]
fn listener_filters_and_their_conditions() {
    let filter = |name: &str, message: &str| {
        let url =
            format!("type.googleapis.com/envoy.extensions.filters.listener.{name}.v3.{message}");
        json!({"name": name, "typed_config": {"@type": url}})
    };
    let mut inspector = filter("http_inspector", "HttpInspector");
    inspector["filter_disabled"] = json!({"destination_port_range": {"start": 3306, "end": 3307}});
    let mut json = with(&[chain("a", "a.com", "one")]);
    json["listener_filters"] = json!([
        filter("original_dst", "OriginalDst"),
        filter("tls_inspector", "TlsInspector"),
        inspector,
    ]);
    json["listener_filters_timeout"] = "0s".into();
    let listener = translate(&json, None).unwrap();
    let found: Vec<_> = listener
        .listener_filters
        .iter()
        .map(|filter| (filter.kind, filter.disabled.clone()))
        .collect();
    assert_eq!(
        found,
        [
            (ListenerFilterKind::OriginalDst, None),
            (ListenerFilterKind::TlsInspector, None),
            (
                ListenerFilterKind::HttpInspector,
                Some(Predicate::DestinationPort(3306..3307))
            ),
        ]
    );
    assert_eq!(listener.listener_filters_timeout, None);
    assert_eq!(&*listener.stat_name, "0.0.0.0_9080");
}

#[test]
fn use_original_dst_restores_the_destination_without_being_told() {
    let mut json = with(&[chain("a", "a.com", "one")]);
    json["use_original_dst"] = true.into();
    let listener = translate(&json, None).unwrap();
    let kinds: Vec<_> = listener
        .listener_filters
        .iter()
        .map(|filter| filter.kind)
        .collect();
    assert_eq!(kinds, [ListenerFilterKind::OriginalDst]);
}

#[rstest]
#[case(json!({"filter_chains": []}), "filter_chains: no filter chain")]
#[case(
    json!({"filter_chains": [chain("a", "a.com", "x"), chain("b", "a.com", "y")]}),
    "filter_chains[1]: has the same match as filter_chains[0]"
)]
#[case(
    json!({"filter_chains": [chain("a", "a.*.com", "x")]}),
    "filter_chains[0].filter_chain_match.server_names: \
     \"a.*.com\": only a leading \"*.\" may stand for names"
)]
#[case(
    json!({"udp_listener_config": {}}),
    "udp_listener_config: this field is not supported"
)]
#[case(
    json!({"listener_filters": [{"name": "x"}]}),
    "listener_filters[0].typed_config: is missing"
)]
fn what_cannot_be_executed_is_named(#[case] fields: Value, #[case] expected: &str) {
    let mut json = with(&[chain("a", "a.com", "x")]);
    for (name, value) in fields.as_object().unwrap() {
        json[name] = value.clone();
    }
    assert_eq!(translate(&json, None).unwrap_err().to_string(), expected);
}
