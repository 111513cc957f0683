//! What golden files show badly: doing it twice, and refusing.

use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::policy::Reason;

fn namespace() -> Namespace {
    Namespace {
        name: "shop".to_owned(),
        labels: None,
    }
}

fn inject_with(pod: &Value, config: &InjectorConfig) -> Value {
    inject_pod(pod, &namespace(), config).unwrap().pod
}

fn pod() -> Value {
    json!({
        "metadata": {
            "name": "cart",
            "labels": {"app": "cart"},
            "annotations": {"prometheus.io/port": "9080"},
        },
        "spec": {
            "containers": [{
                "name": "app",
                "image": "cart:1",
                "ports": [{"containerPort": 9080}],
                "readinessProbe": {"httpGet": {"path": "/ready", "port": 9080}},
            }],
            "volumes": [{"name": "data", "emptyDir": {}}],
        },
    })
}

#[test]
fn injecting_twice_is_injecting_once() {
    let config = InjectorConfig::default();
    let once = inject_with(&pod(), &config);
    assert_eq!(inject_with(&once, &config), once);

    let mut overridden = pod();
    overridden["spec"]["containers"]
        .as_array_mut()
        .unwrap()
        .push(json!({
            "name": "istio-proxy", "image": "auto", "env": [{"name": "MINE", "value": "1"}],
        }));
    let once = inject_with(&overridden, &config);
    assert_eq!(inject_with(&once, &config), once);
}

#[test]
fn a_second_injection_follows_the_settings_of_its_time() {
    let native = InjectorConfig {
        native_sidecar: true,
        image: "weft/proxy:next".to_owned(),
        ..InjectorConfig::default()
    };
    let once = inject_with(&pod(), &InjectorConfig::default());
    assert_eq!(inject_with(&once, &native), inject_with(&pod(), &native));
}

#[test]
fn the_users_proxy_container_wins_over_ours_and_auto_means_our_image() {
    let mut pod = pod();
    pod["spec"]["containers"]
        .as_array_mut()
        .unwrap()
        .push(json!({
            "name": "istio-proxy",
            "image": "auto",
            "resources": {"requests": {"cpu": "1"}},
            "env": [{"name": "TRUST_DOMAIN", "value": "example"}, {"name": "MINE", "value": "1"}],
        }));
    let config = InjectorConfig::default();
    let injected = inject_with(&pod, &config);
    let proxy = named(items(&injected["spec"], "containers"), PROXY_CONTAINER).unwrap();
    assert_eq!(proxy["image"], Value::from(config.image));
    assert_eq!(
        proxy["resources"]["requests"],
        json!({"cpu": "1", "memory": "128Mi"})
    );
    let env = items(proxy, "env");
    assert_eq!(named(env, "TRUST_DOMAIN").unwrap()["value"], "example");
    assert_eq!(named(env, "MINE").unwrap()["value"], "1");
    assert!(named(env, "POD_NAME").is_some());
}

#[test]
fn a_pod_that_is_not_chosen_is_returned_as_it_is() {
    let namespace = Namespace {
        labels: Some(BTreeMap::new()),
        ..namespace()
    };
    let mut pod = pod();
    pod["spec"]["containers"][0] = json!({"name": "istio-proxy", "image": "auto"});
    let injection = inject_pod(&pod, &namespace, &InjectorConfig::default()).unwrap();
    assert_eq!(
        injection,
        Injection {
            decision: Decision::Skip(Reason::Default),
            pod,
            warnings: vec![
                "the image \"auto\" of container \"istio-proxy\" is not replaced: neither pod nor \
                 namespace says anything"
                    .to_owned()
            ],
        }
    );
}

#[test]
fn what_cannot_be_done_is_an_error() {
    let refused = |annotations: Value| {
        let mut pod = pod();
        pod["metadata"]["annotations"] = annotations;
        inject_pod(&pod, &namespace(), &InjectorConfig::default())
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        refused(json!({"inject.istio.io/templates": "grpc-agent"})),
        "annotation \"inject.istio.io/templates\": there is no template \"grpc-agent\", only \"gateway\" and \"sidecar\""
    );
    assert_eq!(
        refused(json!({"sidecar.istio.io/status": "{"})),
        "annotation \"sidecar.istio.io/status\" is not what an earlier injection wrote"
    );
    assert_eq!(
        refused(json!({"prometheus.io/port": "15020 "})),
        "annotation \"prometheus.io/port\": value \"15020 \" is not a port"
    );
    let empty = inject_pod(&json!({}), &namespace(), &InjectorConfig::default());
    assert_eq!(empty, Err(InjectError::NotAPod));
}
