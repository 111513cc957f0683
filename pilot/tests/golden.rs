//! Manifests in, resources out: `golden/<case>/input.yaml` → `golden/<case>/<node>.yaml`.
//!
//! `WEFT_UPDATE_GOLDEN=1 cargo test -p pilot --test golden` rewrites the expected files; read the
//! difference before committing it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{env, fs};

use mesh_api::mesh_config::MeshConfig;
use pilot::node::Node;
use serde_json::{Value, json};
use xds::envoy::core;
use xds::json::Json;
use xds::structs;

/// The proxies that each case may have an expected file for.
fn nodes() -> [(&'static str, Node); 2] {
    [
        (
            "sidecar",
            node(
                "sidecar~10.244.0.2~client-1.default~default.svc.cluster.local",
                "weft",
                &json!({"LABELS": {"app": "client"}, "SERVICE_ACCOUNT": "client"}),
            ),
        ),
        (
            "gateway",
            node(
                "router~10.244.0.3~ingress-1.istio-system~istio-system.svc.cluster.local",
                "envoy",
                &json!({"LABELS": {"istio": "ingressgateway"}, "SERVICE_ACCOUNT": "ingress"}),
            ),
        ),
    ]
}

fn node(id: &str, user_agent: &str, metadata: &Value) -> Node {
    let wire = core::Node {
        id: id.into(),
        user_agent_name: user_agent.into(),
        metadata: Some(structs::from_json(metadata.as_object().unwrap())),
        ..Default::default()
    };
    Node::from_wire(&wire).unwrap()
}

#[test]
fn cases() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut cases: Vec<_> = fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    cases.sort();
    assert!(!cases.is_empty());
    for case in cases {
        check(&case);
    }
}

fn check(case: &Path) {
    let (snapshot, diagnostics) = galley::load(&[case.join("input.yaml")], MeshConfig::default());
    let errors: Vec<_> = diagnostics
        .iter()
        .filter(|d| d.severity == mesh_api::diagnostic::Severity::Error)
        .map(ToString::to_string)
        .collect();
    assert_eq!(errors, Vec::<String>::new(), "{}", case.display());
    for (name, node) in nodes() {
        let expected = case.join(format!("{name}.yaml"));
        if !expected.exists() {
            continue;
        }
        let resources = pilot::generate(&snapshot, &node);
        // Replicas, and a control plane that was restarted, give the very same bytes.
        assert!(resources == pilot::generate(&snapshot, &node));
        let actual = render(&resources);
        if env::var_os("WEFT_UPDATE_GOLDEN").is_some() {
            fs::write(&expected, &actual).unwrap();
        }
        let committed = fs::read_to_string(&expected).unwrap();
        assert!(
            committed == actual,
            "{} differs: {}",
            expected.display(),
            difference(&committed, &actual)
        );
    }
}

/// All resources by type and name, in the JSON form that Envoy's admin shows, written as YAML.
fn render(resources: &pilot::Resources) -> String {
    let json = Json::load();
    let of_type = |bodies: &BTreeMap<String, xds::resource::Any>| -> BTreeMap<String, Value> {
        let bodies = bodies.iter();
        bodies
            .map(|(name, any)| {
                (
                    name.clone(),
                    json.encode_resource(&any.type_url, &any.value),
                )
            })
            .collect()
    };
    let all: BTreeMap<&str, _> = resources
        .iter()
        .map(|(t, bodies)| (t.short_name(), of_type(bodies)))
        .collect();
    serde_saphyr::to_string(&all).unwrap()
}

/// The first lines that differ.
fn difference(expected: &str, actual: &str) -> String {
    let mut lines = expected.lines().zip(actual.lines()).enumerate();
    match lines.find(|(_, (expected, actual))| expected != actual) {
        Some((number, (expected, actual))) => {
            format!("line {}\n- {expected}\n+ {actual}", number + 1)
        }
        None => "one is longer".to_owned(),
    }
}
