//! What one change costs, at 10, 1,000 and 10,000 services: the same.

use serde_json::{Value, json};

use super::*;
use crate::kind::Kind;
use crate::pipeline::Visited;

/// A mesh that is read from a cluster.
struct Mesh {
    following: Option<Following>,
    version: u64,
}

/// How many objects analysis, derivation and reports looked at.
#[derive(Debug, PartialEq, Eq)]
struct Cost {
    analysis: usize,
    derivation: usize,
    reports: usize,
}

impl Mesh {
    /// Each service with a pod, rules, a route and a policy of its own, behind one Gateway.
    fn of(services: usize) -> Self {
        let mut mesh = Self {
            following: Some(Following {
                cluster: Cluster::new(),
                pipeline: Pipeline::new(Store::new(MeshConfig::default())),
                reports: Reports::new("default"),
            }),
            version: 0,
        };
        let mut changes = vec![
            mesh.applied(Kind::GatewayClass, class()),
            mesh.applied(Kind::KubernetesGateway, gateway()),
        ];
        for n in 0..services {
            changes.push(mesh.applied(Kind::Service, service(n)));
            changes.push(mesh.applied(Kind::EndpointSlice, slice(n, &[1])));
            changes.push(mesh.applied(Kind::Pod, pod(n, 1)));
            changes.push(mesh.applied(Kind::VirtualService, rule(n, "1s")));
            changes.push(mesh.applied(Kind::AuthorizationPolicy, policy(n, "ALLOW")));
            changes.push(mesh.applied(Kind::HttpRoute, route(n, "/a")));
        }
        let (_, step) = mesh.step(changes);
        assert!(step.output.diagnostics.is_empty());
        assert_eq!(step.output.snapshot.unwrap().services.len(), services);
        mesh
    }

    fn applied(&mut self, kind: Kind, mut object: Value) -> Change {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        Change::applied(kind, object)
    }

    /// One change of one object.
    fn change(&mut self, kind: Kind, object: Value) -> (Cost, Step) {
        let change = self.applied(kind, object);
        self.step(vec![change])
    }

    fn step(&mut self, changes: Vec<Change>) -> (Cost, Step) {
        let following = self.following.take().unwrap();
        let (following, step) = following.step(changes);
        self.following = Some(following);
        let Visited {
            analysis,
            derivation,
        } = step.output.visited;
        let cost = Cost {
            analysis,
            derivation,
            reports: step.reports.as_ref().map_or(0, |(_, visited)| *visited),
        };
        (cost, step)
    }
}

fn named(name: String) -> Value {
    json!({"name": name, "namespace": "shop", "uid": "1", "generation": 1})
}

fn class() -> Value {
    json!({"metadata": {"name": "istio"}, "spec": {"controllerName": "istio.io/gateway-controller"}})
}

fn gateway() -> Value {
    json!({
        "metadata": named("edge".to_owned()),
        "spec": {
            "gatewayClassName": "istio",
            "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}],
        },
    })
}

fn service(n: usize) -> Value {
    json!({
        "metadata": named(format!("s{n}")),
        "spec": {
            "clusterIP": "10.96.0.1",
            "selector": {"app": format!("s{n}")},
            "ports": [{"name": "http", "port": 80}],
        },
    })
}

fn slice(n: usize, pods: &[usize]) -> Value {
    let endpoints = pods.iter().map(|pod| {
        json!({
            "addresses": [address(n, *pod)],
            "nodeName": "n1",
            "targetRef": {"kind": "Pod", "name": format!("s{n}-{pod}")},
        })
    });
    let mut metadata = named(format!("s{n}-x"));
    metadata["labels"] = json!({"kubernetes.io/service-name": format!("s{n}")});
    json!({
        "metadata": metadata,
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 80}],
        "endpoints": endpoints.collect::<Vec<_>>(),
    })
}

fn address(n: usize, pod: usize) -> String {
    format!("10.{}.{}.{}", 1 + n / 250, n % 250, pod)
}

fn pod(n: usize, pod: usize) -> Value {
    let mut metadata = named(format!("s{n}-{pod}"));
    metadata["labels"] = json!({"app": format!("s{n}")});
    json!({
        "metadata": metadata,
        "spec": {"nodeName": "n1", "containers": []},
        "status": {
            "phase": "Running",
            "podIP": address(n, pod),
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    })
}

fn rule(n: usize, timeout: &str) -> Value {
    let destination = json!({"host": format!("s{n}")});
    json!({
        "metadata": named(format!("s{n}")),
        "spec": {
            "hosts": [format!("s{n}")],
            "http": [{"route": [{"destination": destination}], "timeout": timeout}],
        },
    })
}

fn policy(n: usize, action: &str) -> Value {
    json!({
        "metadata": named(format!("s{n}")),
        "spec": {
            "selector": {"matchLabels": {"app": format!("s{n}")}},
            "action": action,
            "rules": [{"to": [{"operation": {"methods": ["GET"]}}]}],
        },
    })
}

fn route(n: usize, path: &str) -> Value {
    json!({
        "metadata": named(format!("s{n}")),
        "spec": {
            "parentRefs": [{"name": "edge"}],
            "hostnames": [format!("s{n}.example")],
            "rules": [{
                "matches": [{"path": {"type": "PathPrefix", "value": path}}],
                "backendRefs": [{"name": format!("s{n}"), "port": 80}],
            }],
        },
    })
}

/// Every kind of change to the mesh, at the service in its middle.
fn check(services: usize) {
    let mut mesh = Mesh::of(services);
    let n = services / 2;
    let cost = |analysis, derivation, reports| Cost {
        analysis,
        derivation,
        reports,
    };

    let endpoint = vec![
        mesh.applied(Kind::Pod, pod(n, 2)),
        mesh.applied(Kind::EndpointSlice, slice(n, &[1, 2])),
    ];
    let (seen, step) = mesh.step(endpoint);
    assert_eq!(seen, cost(0, 0, 2), "an endpoint");
    let changes = step.output.snapshot.unwrap().changes.clone();
    assert!(changes.endpoints_only());
    assert_eq!((changes.endpoints.len(), changes.workloads.len()), (1, 1));

    let (seen, step) = mesh.change(Kind::VirtualService, rule(n, "2s"));
    assert_eq!(seen, cost(1, 0, 1), "a route");
    assert_eq!(step.output.snapshot.unwrap().changes.objects.len(), 1);

    let (seen, step) = mesh.change(Kind::AuthorizationPolicy, policy(n, "DENY"));
    assert_eq!(seen, cost(0, 0, 1), "a policy");
    assert_eq!(step.output.snapshot.unwrap().changes.objects.len(), 1);

    // The route itself, and its rules at its host.
    let (seen, step) = mesh.change(Kind::HttpRoute, route(n, "/b"));
    assert_eq!(seen, cost(0, 2, 1), "a route of the Gateway API");
    let changes = step.output.snapshot.unwrap().changes.clone();
    assert_eq!(changes.objects.len(), 2, "{changes:?}");

    // The route, its rules at its host, and the Gateway, which says how many routes it has.
    let (seen, _) = mesh.change(Kind::HttpRoute, route(services, "/a"));
    assert_eq!(seen, cost(0, 3, 2), "a new route of the Gateway API");

    // The service and the rules that lead to it; the route that does comes to the same as before.
    let mut ports = service(n);
    ports["spec"]["ports"][0]["name"] = json!("http-web");
    let (seen, _) = mesh.change(Kind::Service, ports);
    assert_eq!(seen, cost(2, 1, 1), "a service");
}

#[test]
fn a_change_costs_the_same_among_ten_services() {
    check(10);
}

#[test]
fn a_change_costs_the_same_among_a_thousand_services() {
    check(1_000);
}

#[test]
fn a_change_costs_the_same_among_ten_thousand_services() {
    check(10_000);
}

#[test]
fn a_status_that_comes_back_is_looked_at_alone() {
    let mut mesh = Mesh::of(10);
    let mut written = rule(3, "1s");
    written["status"] = json!({"conditions": []});
    let (seen, step) = mesh.change(Kind::VirtualService, written.clone());
    let expected = Cost {
        analysis: 0,
        derivation: 0,
        reports: 1,
    };
    assert_eq!(seen, expected);
    assert!(step.output.snapshot.is_none());
    let (_, step) = mesh.change(Kind::VirtualService, written);
    assert!(step.reports.is_none());
}

#[test]
fn thousands_of_rules_for_one_host_cost_one_look_each() {
    let mut mesh = Mesh::of(1);
    let mut changes = Vec::new();
    for n in 0..4_000 {
        let mut rule = rule(0, "1s");
        rule["metadata"]["name"] = json!(format!("r{n}"));
        changes.push(mesh.applied(Kind::VirtualService, rule));
    }
    let (seen, step) = mesh.step(changes);
    // The one that was there has company now.
    assert_eq!(seen.analysis, 4_001);
    assert_eq!(step.output.diagnostics.len(), 4_001);
    let mut last = rule(0, "1s");
    last["metadata"]["name"] = json!("z");
    let (seen, _) = mesh.change(Kind::VirtualService, last);
    assert_eq!(seen.analysis, 1);
}

#[test]
fn thousands_of_sidecars_for_one_pod_cost_one_look_each() {
    let sidecar = |name: String, label: Value| {
        json!({
            "metadata": named(name),
            "spec": {"workloadSelector": {"labels": label}, "egress": [{"hosts": ["*/*"]}]},
        })
    };
    let app = json!({"app": "s0"});
    let mut mesh = Mesh::of(1);
    let mut changes = Vec::new();
    for n in 0..2_000 {
        let sidecar = sidecar(format!("r{n}"), app.clone());
        changes.push(mesh.applied(Kind::Sidecar, sidecar));
    }
    let (seen, step) = mesh.step(changes);
    assert_eq!(seen.analysis, 2_000);
    let findings = step.output.diagnostics;
    assert_eq!(findings.len(), 2_000);
    let text: usize = findings.iter().map(|one| one.message.len()).sum();
    assert!(text < 2_000 * 100, "{text} bytes");
    let (seen, _) = mesh.change(Kind::Sidecar, sidecar("z".to_owned(), app));
    assert_eq!(seen.analysis, 1);
}
