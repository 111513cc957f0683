//! Pods come from outside: whatever they look like, the answer is a pod or an error, never a panic.

use injector::policy::Namespace;
use injector::{InjectorConfig, inject_pod};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// Keys that the injector looks at, so that arbitrary values land where they hurt.
const KEYS: [&str; 24] = [
    "metadata",
    "annotations",
    "labels",
    "spec",
    "containers",
    "initContainers",
    "volumes",
    "name",
    "image",
    "env",
    "ports",
    "args",
    "readinessProbe",
    "httpGet",
    "port",
    "lifecycle",
    "preStop",
    "securityContext",
    "runAsUser",
    "sidecar.istio.io/status",
    "proxy.istio.io/overrides",
    "proxy.istio.io/config",
    "prometheus.io/port",
    "ownerReferences",
];

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("istio-proxy".to_owned()),
        Just("istio-init".to_owned()),
        Just("auto".to_owned()),
        Just("{\"containers\":[\"istio-proxy\",1],\"volumes\":{}}".to_owned()),
        "[a-z0-9:{}\\[\\]\"-]{0,12}",
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 48, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((prop::sample::select(&KEYS[..]), inner), 0..5).prop_map(
                |entries| {
                    let entries = entries.into_iter();
                    let map: Map<String, Value> = entries
                        .map(|(key, value)| (key.to_owned(), value))
                        .collect();
                    Value::from(map)
                }
            ),
        ]
    })
}

proptest! {
    #[test]
    fn injection_never_panics(metadata in value(), spec in value(), container in value()) {
        let namespace = Namespace::default();
        let config = InjectorConfig::default();
        let mut pod = json!({"metadata": metadata, "spec": spec});
        let _ = inject_pod(&pod, &namespace, &config);
        if let Some(spec) = pod["spec"].as_object_mut() {
            spec.insert("containers".to_owned(), json!([container]));
        }
        if let Ok(injection) = inject_pod(&pod, &namespace, &config) {
            let _ = inject_pod(&injection.pod, &namespace, &config);
        }
    }
}
