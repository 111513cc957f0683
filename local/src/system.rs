//! The mesh's own objects: control plane and ingress gateway, as manifests.
//!
//! They go through the same controllers as the user's. The gateway is a default that the user's own
//! objects of the same names replace.

use std::path::Path;

use serde_json::{Value, json};

use crate::{
    manifest::{self, Object},
    options::Options,
    state::StateDir,
    token,
};

/// Name of the only node.
pub const NODE: &str = "local";

/// Namespace of the control plane.
pub const NAMESPACE: &str = "istio-system";

/// Name of the control plane's Deployment and Service.
pub const CONTROL_PLANE: &str = "istiod";

/// Name of the ingress gateway's Deployment and Service.
pub const INGRESS_GATEWAY: &str = "istio-ingressgateway";

/// Service account of the ingress gateway.
const INGRESS_ACCOUNT: &str = "istio-ingressgateway-service-account";

/// Port of the control plane's webhook in its pod.
pub const WEBHOOK_PORT: u16 = 15017;

/// The objects that every mesh has.
pub fn objects(options: &Options, state: &StateDir) -> Vec<Object> {
    let mut values = vec![namespace("default")];
    if options.mesh {
        values.push(namespace(NAMESPACE));
        values.extend(control_plane(options, state));
        values.extend(ingress_gateway());
        values.extend(ingress_gateway_role());
    }
    let list = json!({"apiVersion": "v1", "kind": "List", "items": values});
    manifest::parse(&list.to_string(), Path::new("built-in"), NAMESPACE).objects
}

fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

fn control_plane(options: &Options, state: &StateDir) -> [Value; 3] {
    let labels = json!({"app": "istiod", "istio": "pilot"});
    let port =
        |name, port: u16, target: u16| json!({"name": name, "port": port, "targetPort": target});
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": CONTROL_PLANE, "namespace": NAMESPACE, "labels": labels},
        "spec": {"selector": {"app": "istiod"}, "ports": [
            port("grpc-xds", 15010, 15010),
            port("https-dns", 15012, 15012),
            port("https-webhook", 443, WEBHOOK_PORT),
            port("http-monitoring", 15014, 15014),
        ]},
    });
    let account = json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": CONTROL_PLANE, "namespace": NAMESPACE},
    });
    [
        account,
        service,
        control_plane_deployment(options, state, &labels),
    ]
}

fn control_plane_deployment(options: &Options, state: &StateDir, labels: &Value) -> Value {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let mut config_dirs: Vec<_> = options.dir.iter().map(|dir| text(dir)).collect();
    config_dirs.extend([text(&state.applied()), text(&state.generated())]);
    let mut args: Vec<String> = config_dirs
        .iter()
        .flat_map(|dir| ["--config-dir".to_owned(), dir.clone()])
        .collect();
    let (jwks, ca, published) = (
        text(&state.jwks()),
        text(&state.ca()),
        text(&state.published()),
    );
    for (flag, value) in [
        ("--jwks-file", jwks.as_str()),
        ("--token-issuer", token::ISSUER),
        ("--ca-dir", &ca),
        ("--publish-root", &published),
        ("--webhook-address", "0.0.0.0:15017"),
        ("--http-address", "0.0.0.0:15014"),
        ("--xds-address", "0.0.0.0:15012"),
    ] {
        args.extend([flag.to_owned(), value.to_owned()]);
    }
    let shared = config_dirs.iter().map(|dir| (dir.as_str(), true)).chain([
        (jwks.as_str(), true),
        (&ca, false),
        (&published, false),
    ]);
    let (mut volumes, mut mounts) = (Vec::new(), Vec::new());
    for (index, (path, read_only)) in shared.enumerate() {
        let name = format!("host-{index}");
        volumes.push(json!({"name": name, "hostPath": {"path": path}}));
        mounts.push(json!({"name": name, "mountPath": path, "readOnly": read_only}));
    }
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": CONTROL_PLANE, "namespace": NAMESPACE, "labels": labels},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "istiod"}},
            "template": {
                "metadata": {
                    "labels": {"app": "istiod", "istio": "pilot", "sidecar.istio.io/inject": "false"},
                },
                "spec": {
                    "serviceAccountName": CONTROL_PLANE,
                    "terminationGracePeriodSeconds": 5,
                    "containers": [{
                        "name": "discovery",
                        "image": "weft/meshd",
                        "args": args,
                        "readinessProbe": {"httpGet": {"path": "/ready", "port": 15014}, "periodSeconds": 1},
                        // The directories belong to whoever started the mesh, who is root in here.
                        "securityContext": {"runAsUser": 0, "capabilities": {"add": ["DAC_READ_SEARCH"]}},
                        "volumeMounts": mounts,
                    }],
                    "volumes": volumes,
                },
            },
        },
    })
}

/// As the chart's: the control plane sends certificates to those who may list their Secrets.
fn ingress_gateway_role() -> [Value; 2] {
    let name = "istio-ingressgateway-sds";
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "watch", "list"]}],
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{
            "kind": "ServiceAccount",
            "name": INGRESS_ACCOUNT,
            "namespace": NAMESPACE,
        }],
    });
    [role, binding]
}

fn ingress_gateway() -> [Value; 3] {
    let labels = json!({"app": INGRESS_GATEWAY, "istio": "ingressgateway"});
    let port = |name: &str, port: u16, target: u16| json!({"name": name, "port": port, "targetPort": target});
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": INGRESS_GATEWAY, "namespace": NAMESPACE, "labels": labels},
        "spec": {"type": "LoadBalancer", "selector": labels, "ports": [
            port("status-port", 15021, 15021),
            port("http2", 80, 8080),
            port("https", 443, 8443),
            port("tcp", 31400, 31400),
            port("tls", 15443, 15443),
        ]},
    });
    let account = json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": INGRESS_ACCOUNT, "namespace": NAMESPACE},
    });
    let deployment = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": INGRESS_GATEWAY, "namespace": NAMESPACE, "labels": labels},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {
                    "labels": {"app": INGRESS_GATEWAY, "istio": "ingressgateway", "sidecar.istio.io/inject": "true"},
                    "annotations": {"inject.istio.io/templates": "gateway"},
                },
                "spec": {
                    "serviceAccountName": INGRESS_ACCOUNT,
                    "terminationGracePeriodSeconds": 5,
                    "containers": [{"name": "istio-proxy", "image": "auto"}],
                },
            },
        },
    });
    [account, service, deployment]
}
