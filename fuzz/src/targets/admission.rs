//! What the API server sends to the webhooks, and the templates of operators.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use galley::webhook::Metrics;
use injector::policy::Namespace;
use injector::template::custom::Templates;
use injector::webhook::Webhook;
use injector::{InjectorConfig, inject_pod};
use mesh_api::mesh_config::MeshConfig;
use serde_json::{Value, json};

use crate::target::{Outcome, Target, kind_of, outcome};

const JSON: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "null",
    "true",
    "\"\"",
    "{}",
    "[]",
    "-1",
    "1e400",
    "\\u0000",
    "\"metadata\":",
    "\"annotations\":",
    "\"spec\":",
    "\"containers\":",
    "\"name\":",
];

pub(super) static TARGETS: &[Target] = &[
    Target::new("admission-validate", validate)
        .dictionary(JSON)
        .bytes_max(64 << 10),
    Target::new("admission-inject", inject)
        .dictionary(JSON)
        .bytes_max(64 << 10),
    Target::new("go-template", template).dictionary(&[
        "{{",
        "}}",
        "{{-",
        "-}}",
        "{{ if ",
        "{{ range ",
        "{{ end }}",
        "{{ else }}",
        "{{ with ",
        "{{ define \"a\" }}",
        "{{ template \"a\" . }}",
        "{{ block ",
        "| toYaml",
        "| indent 4",
        "index ",
        "printf \"%1000000d\" 1",
        ".Values",
        ".ObjectMeta.Name",
        "$x := ",
        "`",
        "\"",
        "/* */",
        "(",
        ")",
        "| toJson",
        "| quote",
        "range $i, $x := ",
        "{{ break }}",
    ]),
];

/// An answer has the request's id and says whether the object is allowed.
fn validate(input: &[u8]) -> Outcome {
    static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::default);
    let Ok(review) = serde_json::from_slice::<Value>(input) else {
        return outcome("no JSON");
    };
    let Some(answer) = galley::webhook::review(&review, &MeshConfig::default(), &METRICS) else {
        return outcome("no review");
    };
    let response = &answer["response"];
    assert_eq!(response["uid"], review["request"]["uid"]);
    assert!(response["allowed"].is_boolean());
    let message = response["status"]["message"].as_str().unwrap_or_default();
    let warnings = response["warnings"].as_array().map_or(0, Vec::len);
    outcome((kind_of(message), warnings.min(4)))
}

/// A pod that is changed is changed by a patch.
fn inject(input: &[u8]) -> Outcome {
    static WEBHOOK: LazyLock<Webhook> =
        LazyLock::new(|| Webhook::new(Arc::new(InjectorConfig::default), Default::default()));
    match WEBHOOK.review(input, "") {
        Ok(answer) => {
            let response = &answer["response"];
            let allowed = response["allowed"].as_bool();
            assert!(allowed.is_some());
            assert!(allowed == Some(true) || response["patch"].is_null());
            let message = response["status"]["message"].as_str().unwrap_or_default();
            let warnings = response["warnings"].as_array().map_or(0, Vec::len);
            outcome((
                kind_of(message),
                response["patch"].is_null(),
                warnings.min(4),
            ))
        }
        Err(error) => kind_of(&error.to_string()),
    }
}

/// A template that was taken renders a pod or says why not.
fn template(input: &[u8]) -> Outcome {
    let source = String::from_utf8_lossy(input).into_owned();
    let sources = BTreeMap::from([("fuzzed".to_owned(), source)]);
    let defaults = vec!["sidecar".to_owned(), "fuzzed".to_owned()];
    let templates = match Templates::new(sources, defaults, BTreeMap::new()) {
        Ok(templates) => templates,
        Err(error) => return kind_of(&error.to_string()),
    };
    let config = InjectorConfig {
        templates: Arc::new(templates),
        ..InjectorConfig::default()
    };
    let pod = json!({
        "metadata": {"name": "a", "labels": {"app": "a", "sidecar.istio.io/inject": "true"}},
        "spec": {"containers": [{"name": "a", "image": "a", "ports": [{"containerPort": 80}]}]},
    });
    let namespace = Namespace {
        name: "default".into(),
        labels: None,
    };
    match inject_pod(&pod, &namespace, &config) {
        Ok(injection) => outcome(injection.pod["spec"].as_object().map(serde_json::Map::len)),
        Err(error) => kind_of(&error.to_string()),
    }
}
