//! Sends the kubelet's probes through the proxy's status port.
//!
//! The kubelet has no certificate and would be refused by a STRICT port, and a TCP probe would only find the
//! proxy that captured it. So HTTP, TCP and gRPC probes become `GET /app-health/CONTAINER/{readyz,livez,
//! startupz}` on the status port, and the proxy asks the application what the original probe would have
//! asked, which it finds in `ISTIO_KUBE_APP_PROBERS`. Lifecycle hooks go the same way. `exec` probes stay.

use serde_json::{Map, Value, json};

use crate::config::PROXY_CONTAINER;
use crate::json::{array_mut, items, name, text};

/// The fields that carry probes, with the last part of their path.
const PROBES: [(&str, &str); 3] = [
    ("readinessProbe", "readyz"),
    ("livenessProbe", "livez"),
    ("startupProbe", "startupz"),
];

/// The lifecycle hooks, with the last part of their path.
const HOOKS: [(&str, &str); 2] = [("preStop", "prestopz"), ("postStart", "poststartz")];

/// What rewriting found.
#[derive(Debug, Default, PartialEq)]
pub struct Rewritten {
    /// The original probes by path.
    pub probers: Map<String, Value>,
    /// Probes that could not be rewritten, for the user.
    pub warnings: Vec<String>,
}

/// Rewrites all probes and hooks of the user's containers.
pub fn rewrite(pod: &mut Value, status_port: u16) -> Rewritten {
    let mut rewritten = Rewritten::default();
    for list in ["initContainers", "containers"] {
        if items(&pod["spec"], list).is_empty() {
            continue;
        }
        for container in array_mut(&mut pod["spec"], list) {
            if name(container) != PROXY_CONTAINER {
                rewrite_container(container, status_port, &mut rewritten);
            }
        }
    }
    rewritten
}

fn rewrite_container(container: &mut Value, status_port: u16, rewritten: &mut Rewritten) {
    let owner = name(container).to_owned();
    let ports = items(container, "ports").to_vec();
    for (field, stem) in PROBES {
        let path = format!("/app-health/{owner}/{stem}");
        if let Some(probe) = container.get_mut(field).and_then(Value::as_object_mut) {
            let timeout = probe.get("timeoutSeconds").cloned();
            rewrite_action(probe, &path, timeout, &ports, status_port, rewritten);
        }
    }
    for (field, stem) in HOOKS {
        let path = format!("/app-lifecycle/{owner}/{stem}");
        let lifecycle = container.get_mut("lifecycle");
        let hook = lifecycle.and_then(|lifecycle| lifecycle.get_mut(field));
        if let Some(hook) = hook.and_then(Value::as_object_mut) {
            rewrite_action(hook, &path, None, &ports, status_port, rewritten);
        }
    }
}

fn rewrite_action(
    action: &mut Map<String, Value>,
    path: &str,
    timeout: Option<Value>,
    ports: &[Value],
    status_port: u16,
    rewritten: &mut Rewritten,
) {
    let kinds = ["httpGet", "tcpSocket", "grpc"];
    let Some(kind) = kinds
        .into_iter()
        .find(|kind| action.get(*kind).is_some_and(Value::is_object))
    else {
        return;
    };
    let mut original = action[kind].clone();
    let Some(port) = resolve(&original["port"], ports) else {
        rewritten.warnings.push(format!(
            "probe \"{path}\" is left as it is: the container has no port \"{}\"",
            text(&original, "port").unwrap_or_default()
        ));
        return;
    };
    if port == i64::from(status_port) {
        // An earlier injection was here.
        return;
    }
    original["port"] = port.into();
    let mut replacement = match kind {
        "httpGet" => original.clone(),
        _ => json!({}),
    };
    replacement["path"] = path.into();
    replacement["port"] = status_port.into();
    if replacement["scheme"] == "HTTPS" {
        // The proxy speaks TLS to the application; the kubelet speaks plaintext to the proxy.
        replacement["scheme"] = "HTTP".into();
    }
    action.remove(kind);
    action.insert("httpGet".to_owned(), replacement);

    let mut prober = json!({kind: original});
    if let Some(timeout) = timeout {
        prober["timeoutSeconds"] = timeout;
    }
    rewritten.probers.insert(path.to_owned(), prober);
}

/// A port by number or by the name that the container gave it.
fn resolve(port: &Value, ports: &[Value]) -> Option<i64> {
    if let Some(number) = port.as_i64() {
        return Some(number);
    }
    let wanted = port.as_str()?;
    let declared = ports.iter().find(|port| name(port) == wanted);
    match declared {
        Some(port) => port["containerPort"].as_i64(),
        None => wanted.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewrite_one(container: Value) -> (Value, Rewritten) {
        let mut pod = json!({"spec": {"containers": [container]}});
        let rewritten = rewrite(&mut pod, 15020);
        (pod["spec"]["containers"][0].clone(), rewritten)
    }

    #[test]
    fn http_tcp_and_grpc_probes_become_requests_to_the_proxy() {
        let (container, rewritten) = rewrite_one(json!({
            "name": "app",
            "ports": [{"name": "web", "containerPort": 8080}],
            "readinessProbe": {
                "httpGet": {"path": "/ready", "port": "web", "scheme": "HTTPS",
                            "httpHeaders": [{"name": "a", "value": "b"}]},
                "periodSeconds": 5, "timeoutSeconds": 2,
            },
            "livenessProbe": {"tcpSocket": {"port": 9000}},
            "startupProbe": {"grpc": {"port": 9001, "service": "x"}},
        }));
        let get = |stem: &str| json!({"path": format!("/app-health/app/{stem}"), "port": 15020});
        assert_eq!(
            container,
            json!({
                "name": "app",
                "ports": [{"name": "web", "containerPort": 8080}],
                "readinessProbe": {
                    "httpGet": {"path": "/app-health/app/readyz", "port": 15020, "scheme": "HTTP",
                                "httpHeaders": [{"name": "a", "value": "b"}]},
                    "periodSeconds": 5, "timeoutSeconds": 2,
                },
                "livenessProbe": {"httpGet": get("livez")},
                "startupProbe": {"httpGet": get("startupz")},
            })
        );
        assert_eq!(
            Value::Object(rewritten.probers),
            json!({
                "/app-health/app/readyz": {
                    "httpGet": {"path": "/ready", "port": 8080, "scheme": "HTTPS",
                                "httpHeaders": [{"name": "a", "value": "b"}]},
                    "timeoutSeconds": 2,
                },
                "/app-health/app/livez": {"tcpSocket": {"port": 9000}},
                "/app-health/app/startupz": {"grpc": {"port": 9001, "service": "x"}},
            })
        );
        assert_eq!(rewritten.warnings, [""; 0]);
    }

    #[test]
    fn lifecycle_hooks_go_the_same_way() {
        let (container, rewritten) = rewrite_one(json!({
            "name": "app",
            "lifecycle": {
                "preStop": {"httpGet": {"path": "/bye", "port": 80}},
                "postStart": {"exec": {"command": ["true"]}},
            },
        }));
        assert_eq!(
            container["lifecycle"],
            json!({
                "preStop": {"httpGet": {"path": "/app-lifecycle/app/prestopz", "port": 15020}},
                "postStart": {"exec": {"command": ["true"]}},
            })
        );
        assert_eq!(
            rewritten.probers["/app-lifecycle/app/prestopz"],
            json!({"httpGet": {"path": "/bye", "port": 80}})
        );
    }

    #[test]
    fn exec_probes_unknown_ports_and_the_proxys_own_probes_stay() {
        let same = |container: Value| {
            let (after, rewritten) = rewrite_one(container.clone());
            assert_eq!(after, container);
            assert!(rewritten.probers.is_empty());
            rewritten.warnings
        };
        let exec = json!({"name": "app", "livenessProbe": {"exec": {"command": ["true"]}}});
        assert_eq!(same(exec), [""; 0]);
        let proxy = json!({
            "name": PROXY_CONTAINER,
            "readinessProbe": {"httpGet": {"path": "/healthz/ready", "port": 15021}},
        });
        assert_eq!(same(proxy), [""; 0]);
        let rewritten_before = json!({
            "name": "app",
            "readinessProbe": {"httpGet": {"path": "/app-health/app/readyz", "port": 15020}},
        });
        assert_eq!(same(rewritten_before), [""; 0]);
        let unknown = json!({
            "name": "app",
            "readinessProbe": {"httpGet": {"path": "/", "port": "nowhere"}},
        });
        assert_eq!(
            same(unknown),
            [
                "probe \"/app-health/app/readyz\" is left as it is: the container has no port \"nowhere\""
            ]
        );
    }
}
