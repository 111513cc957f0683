//! What the most expensive pods cost: each is injected or refused within the CPU time of a review.
//!
//! One per field that has a length, as large as a review may be. Steps that compare every element of one list with
//! every element of another take minutes on these.

use std::sync::Arc;
use std::time::Duration;

use injector::InjectorConfig;
use injector::metrics::Metrics;
use injector::template::custom::Templates;
use injector::webhook::Webhook;
use mesh_runtime::cpu_budget;
use mesh_runtime::reviews::BODY_BYTES_MAX;
use serde_json::{Map, Value, json};

/// A second, and more in a build that is not optimised.
const CPU_TIME_MAX: Duration = Duration::from_secs(if cfg!(debug_assertions) { 5 } else { 1 });

/// What the server gives a review.
const BUDGET: Duration = Duration::from_millis(500);

/// Whether the pod was injected; refused otherwise.
fn check(name: &str, pod: &Value) -> bool {
    let review = json!({"request": {"uid": "1", "kind": {"kind": "Pod"}, "object": pod}});
    let review = review.to_string().into_bytes();
    assert!(
        review.len() <= BODY_BYTES_MAX,
        "{name}: {} bytes",
        review.len()
    );
    let config = InjectorConfig {
        templates: templates().into(),
        ..InjectorConfig::default()
    };
    let webhook = Webhook::new(Arc::new(move || config.clone()), Metrics::default());
    let start = cpu_budget::used();
    let answer = cpu_budget::within(BUDGET, || webhook.review(&review, "")).unwrap();
    let response = answer["response"].to_string();
    let used = cpu_budget::used() - start;
    assert!(used < CPU_TIME_MAX, "{name}: {used:?}");
    // A review may be answered with the pod once more, not with many times as much.
    assert!(
        response.len() < 4 * BODY_BYTES_MAX,
        "{name}: {} bytes",
        response.len()
    );
    answer["response"]["allowed"] == true
}

fn templates() -> Templates {
    let template = |text: &str| text.to_owned();
    let sources = [
        (
            "each",
            template(
                "spec:\n  volumes:{{ range .Spec.Containers }}\n  - name: v-{{ .Name }}{{ end }}\n",
            ),
        ),
        (
            "dump",
            template("{{ range .Spec.Containers }}{{ $all := toJson $.Spec }}{{ end }}"),
        ),
        (
            "grow",
            template(
                "metadata: {annotations: {x: {{ replace \"a\" .ObjectMeta.Annotations.text .ObjectMeta.Annotations.text | len }}}}",
            ),
        ),
    ];
    let sources = sources.map(|(name, text)| (name.to_owned(), text));
    Templates::new(sources.into(), Vec::new(), Default::default()).unwrap()
}

fn pod(annotations: Value, spec: Value) -> Value {
    let mut pod = json!({
        "metadata": {"name": "worst", "annotations": annotations},
        "spec": {"containers": [{"name": "app"}]},
    });
    let own = pod["spec"].as_object_mut().unwrap();
    own.extend(spec.as_object().unwrap().clone());
    pod
}

fn many(count: usize, each: impl Fn(usize) -> Value) -> Value {
    (0..count).map(each).collect()
}

fn map(count: usize, each: impl Fn(usize) -> Value) -> Value {
    let entries = (0..count).map(|number| (format!("k{number}"), each(number)));
    entries.collect::<Map<_, _>>().into()
}

#[test]
fn lists_of_the_pod_and_what_is_merged_into_them() {
    let named = |prefix: &'static str| move |number| json!({"name": format!("{prefix}{number}")});
    let volumes = map(40_000, |_| json!({})).to_string();
    let mounts = map(25_000, |number| json!({"mountPath": format!("/{number}")})).to_string();
    let cases = [
        (
            "volumes",
            json!({"sidecar.istio.io/userVolume": volumes}),
            json!({"volumes": many(80_000, named("v"))}),
        ),
        (
            "mounts of the author's proxy",
            json!({"sidecar.istio.io/userVolumeMount": mounts}),
            json!({"containers": [
                {"name": "app"},
                {"name": "istio-proxy", "volumeMounts": many(40_000, |n| json!({"mountPath": format!("/m{n}")}))},
            ]}),
        ),
        (
            "environment of the author's proxy",
            json!({"proxy.istio.io/config": json!({"proxyMetadata": map(20_000, |n| json!(n.to_string()))}).to_string()}),
            json!({"containers": [
                {"name": "app"},
                {"name": "istio-proxy", "env": many(60_000, |n| json!({"name": format!("E{n}"), "value": ""}))},
            ]}),
        ),
        (
            "containers",
            json!({}),
            json!({"containers": many(100_000, named("c"))}),
        ),
        (
            "containers of one name",
            json!({}),
            json!({"containers": vec![json!({"name": "istio-proxy"}); 100_000]}),
        ),
        (
            "pull secrets",
            json!({}),
            json!({"imagePullSecrets": many(100_000, named("s"))}),
        ),
        (
            "probes of named ports",
            json!({}),
            json!({"containers": many(20_000, |n| json!({
                "name": format!("c{n}"),
                "ports": [{"name": "web", "containerPort": 80}],
                "readinessProbe": {"httpGet": {"port": "web"}},
            }))}),
        ),
        (
            "ports of one container",
            json!({}),
            json!({"containers": [{
                "name": "app",
                "ports": many(60_000, |n| json!({"containerPort": n, "name": format!("p{n}")})),
                "readinessProbe": {"httpGet": {"port": "p59999"}},
            }]}),
        ),
    ];
    for (name, annotations, spec) in cases {
        check(name, &pod(annotations, spec));
    }
}

#[test]
fn annotations() {
    let ports = (0..350_000).map(|n| format!("{:010}", n % 65_536));
    let ports = ports.collect::<Vec<_>>().join(",");
    let ranges = vec!["10.0.0.0/8"; 300_000].join(",");
    let yaml = format!("a: [{}]", "x,".repeat(200_000));
    let names = many(100_000, |n| json!(format!("c{n}")));
    let cases = [
        ("traffic.sidecar.istio.io/excludeInboundPorts", ports),
        ("traffic.sidecar.istio.io/includeOutboundIPRanges", ranges),
        ("proxy.istio.io/config", yaml),
        ("proxy.istio.io/config", "[".repeat(1_000_000)),
        (
            "proxy.istio.io/config",
            "a: &a [x]\nb: &b [*a, *a, *a]\nc: &c [*b, *b, *b]\n".repeat(20_000),
        ),
        ("sidecar.istio.io/proxyImage", "x".repeat(4_000_000)),
        ("sidecar.istio.io/interceptionMode", "x".repeat(4_000_000)),
        (
            "sidecar.istio.io/status",
            json!({"containers": names, "volumes": names}).to_string(),
        ),
        (
            "proxy.istio.io/overrides",
            json!({"containers": vec![json!({"name": "a"}); 100_000]}).to_string(),
        ),
    ];
    for (name, value) in cases {
        let status = json!({"containers": ["x"]}).to_string();
        let mut annotations = json!({"sidecar.istio.io/status": status});
        annotations[name] = value.into();
        let containers = many(30_000, |n| json!({"name": format!("c{n}")}));
        let spec = match name {
            "sidecar.istio.io/status" => json!({"containers": containers, "volumes": containers}),
            _ => json!({}),
        };
        check(name, &pod(annotations, spec));
    }
    check("any", &pod(map(200_000, |_| json!("")), json!({})));
    check(
        "labels",
        &json!({
            "metadata": {"labels": map(200_000, |_| json!(""))},
            "spec": {"containers": [{"name": "app"}]},
        }),
    );
}

#[test]
fn depth_and_moved_lists() {
    let deep = (0..50).fold(json!({}), |inner, _| json!({"a": [inner]}));
    check("depth", &pod(json!({}), json!({"x": vec![deep; 2_500]})));
    let key = "x".repeat(100_000);
    let container = |add: usize| json!({"name": format!("c{add}"), key.clone(): many(100_000, |n| json!(n + add))});
    let annotations = json!({"proxy.istio.io/config": "{holdApplicationUntilProxyStarts: true}"});
    let spec = json!({"containers": [container(0), container(1)]});
    assert!(check("moved", &pod(annotations, spec)));
}

#[test]
fn templates_of_the_operator_over_the_authors_lists() {
    let asking = |name: &str, spec| pod(json!({"inject.istio.io/templates": name}), spec);
    let containers =
        |count| json!({"containers": many(count, |n| json!({"name": format!("c{n}")}))});
    assert!(!check(
        "sidecar over and over",
        &asking(&vec!["sidecar"; 400_000].join(","), json!({}))
    ));
    assert!(!check(
        "unknown",
        &asking(&vec!["x"; 1_000_000].join(","), json!({}))
    ));
    check("each", &asking("sidecar,each", containers(9_000)));
    assert!(!check("dump", &asking("sidecar,dump", containers(9_000))));
    let mut grow = asking("sidecar,grow", json!({}));
    grow["metadata"]["annotations"]["text"] = "a".repeat(1_000_000).into();
    assert!(!check("grow", &grow));
}
