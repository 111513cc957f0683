//! The proxy's container, as sidecar and as gateway.

use serde_json::{Map, Value, json};

use super::{Subject, env, volumes};
use crate::config::{PROXY_CONTAINER, PROXY_UID};

/// What the proxy does in the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Serves the other containers of its pod.
    Sidecar,
    /// Is the pod's application.
    Gateway,
}

impl Role {
    /// The proxy's subcommand, in Istio's words.
    fn subcommand(self) -> &'static str {
        match self {
            Self::Sidecar => "sidecar",
            Self::Gateway => "router",
        }
    }
}

/// Seconds that a health check may take.
const TIMEOUT_SECONDS: u32 = 3;

pub(super) fn proxy(role: Role, subject: &Subject<'_>) -> Value {
    let config = subject.config;
    let annotations = subject.annotations;
    let mut container = json!({
        "name": PROXY_CONTAINER,
        "image": image(subject),
        "args": [role.subcommand()],
        "ports": [{"containerPort": 15090, "protocol": "TCP", "name": "http-envoy-prom"}],
        "env": env::proxy(subject),
        "resources": resources(subject),
        "securityContext": security_context(subject),
        "volumeMounts": volumes::mounts(subject),
    });
    if let Some(policy) = &config.image_pull_policy {
        container["imagePullPolicy"] = policy.clone().into();
    }
    if annotations.status_port != 0 {
        container["readinessProbe"] = readiness_probe(subject);
        if role == Role::Sidecar && config.probes.startup {
            container["startupProbe"] = startup_probe(config.probes.startup_failures);
        }
    }
    if let Some(lifecycle) = &config.lifecycle {
        container["lifecycle"] = lifecycle.clone();
    } else if annotations.holds_application(config) && !annotations.native_sidecar {
        // The kubelet starts containers in order and waits for this hook in between.
        container["lifecycle"] = json!({
            "postStart": {"exec": {"command": ["weft-proxy", "wait"]}},
        });
    }
    container
}

/// The proxy's image.
pub(super) fn image<'a>(subject: &'a Subject<'_>) -> &'a str {
    let annotations = subject.annotations;
    annotations.or("sidecar.istio.io/proxyImage", &subject.config.image)
}

fn health_check() -> Value {
    json!({"path": "/healthz/ready", "port": 15021})
}

fn readiness_probe(subject: &Subject<'_>) -> Value {
    let probes = &subject.config.probes;
    let number = |name: &str, default: u32| {
        let annotation = subject.annotations.get(name);
        annotation
            .and_then(|value| value.parse().ok())
            .unwrap_or(default)
    };
    json!({
        "httpGet": health_check(),
        "initialDelaySeconds": number("readiness.status.sidecar.istio.io/initialDelaySeconds", probes.readiness_initial_delay),
        "periodSeconds": number("readiness.status.sidecar.istio.io/periodSeconds", probes.readiness_period),
        "failureThreshold": number("readiness.status.sidecar.istio.io/failureThreshold", probes.readiness_failures),
        "timeoutSeconds": TIMEOUT_SECONDS,
    })
}

/// Asks every second until the first success, so that a pod is ready as soon as its proxy is.
fn startup_probe(failures: u32) -> Value {
    json!({
        "httpGet": health_check(),
        "initialDelaySeconds": 0,
        "periodSeconds": 1,
        "failureThreshold": failures,
        "timeoutSeconds": TIMEOUT_SECONDS,
    })
}

fn security_context(subject: &Subject<'_>) -> Value {
    let mut capabilities = json!({"drop": ["ALL"]});
    let tproxy = subject.is_tproxy();
    if tproxy {
        // IP_TRANSPARENT needs it, and ambient capabilities need root.
        capabilities["add"] = json!(["NET_ADMIN"]);
    }
    let mut context = json!({
        "allowPrivilegeEscalation": false,
        "capabilities": capabilities,
        "privileged": false,
        "readOnlyRootFilesystem": true,
        "runAsGroup": PROXY_UID,
        "runAsNonRoot": !tproxy,
        "runAsUser": if tproxy { 0 } else { PROXY_UID },
    });
    set_seccomp_profile(&mut context, subject);
    context
}

/// The operator's profile; what the pod says holds where there is none.
pub(super) fn set_seccomp_profile(context: &mut Value, subject: &Subject<'_>) {
    if let Some(profile) = &subject.config.seccomp_profile {
        context["seccompProfile"] = profile.clone();
    }
}

/// The operator's resources, unless the pod says anything: then only what the pod says.
pub(super) fn resources(subject: &Subject<'_>) -> Value {
    let annotated = |cpu: &str, memory: &str| {
        let mut quantities = Map::new();
        for (resource, name) in [("cpu", cpu), ("memory", memory)] {
            if let Some(value) = subject.annotations.get(name) {
                quantities.insert(resource.to_owned(), value.into());
            }
        }
        quantities
    };
    let requests = annotated("sidecar.istio.io/proxyCPU", "sidecar.istio.io/proxyMemory");
    let limits = annotated(
        "sidecar.istio.io/proxyCPULimit",
        "sidecar.istio.io/proxyMemoryLimit",
    );
    if requests.is_empty() && limits.is_empty() {
        return subject.config.resources.clone();
    }
    let mut resources = Map::new();
    for (key, quantities) in [("requests", requests), ("limits", limits)] {
        if !quantities.is_empty() {
            resources.insert(key.to_owned(), quantities.into());
        }
    }
    resources.into()
}
