use std::collections::BTreeMap;

use serde::Deserialize;

use super::jsonpb::{GoDuration, wire_enum};
use super::*;
use crate::manifest::parse;

wire_enum!(
    /// An enum.
    #[allow(unreachable_pub, reason = "the macro is for the wire structs, which are public")]
    Mode {
        #[default]
        Unset = "UNSET" / 0,
        Strict = "STRICT" / 3,
    }
);

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Wire {
    jwks_uri: Option<String>,
    timeout: Option<GoDuration>,
    attempts: Option<u32>,
    share: Option<f64>,
    mode: Option<Mode>,
    labels: BTreeMap<String, String>,
    ports: BTreeMap<u32, Wire>,
    rules: Vec<Wire>,
}

fn check(yaml: &str) -> (Option<Wire>, Vec<String>) {
    let text = format!("apiVersion: v1\nkind: X\nspec:\n{yaml}");
    let (documents, diagnostics) = parse("a", &text);
    assert_eq!(diagnostics, vec![]);
    let node = documents[0].node.get("spec").unwrap();
    let (value, findings) =
        decode::<Wire>(node, &FieldPath::ROOT.field("spec"), &Budget::default());
    let shown = findings
        .into_iter()
        .map(|finding| documents[0].diagnostic(finding, None).to_string())
        .collect();
    (value, shown)
}

#[test]
fn protobuf_json_forms() {
    let yaml = "  jwks_uri: https://x\n  timeout: 1m30s\n  attempts: \"3\"\n  share: 5\n  mode: 3\n  labels: null\n  ports: {8080: {mode: STRICT}}\n";
    let expected = Wire {
        jwks_uri: Some("https://x".to_owned()),
        timeout: Some(GoDuration(std::time::Duration::from_secs(90))),
        attempts: Some(3),
        share: Some(5.0),
        mode: Some(Mode::Strict),
        ports: BTreeMap::from([(
            8080,
            Wire {
                mode: Some(Mode::Strict),
                ..Wire::default()
            },
        )]),
        ..Wire::default()
    };
    assert_eq!(check(yaml), (Some(expected), vec![]));
}

#[test]
fn all_faults_of_an_object_are_named_at_once() {
    let yaml = "  timeout: 10\n  attempts: -1\n  rules:\n  - mode: strict\n  - mode: OTHER\n    timout: 3s\n  labels: {version: 1}\n  share: [1]\n";
    let (value, shown) = check(yaml);
    assert_eq!(value, None);
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn both_spellings_of_a_field_clash() {
    let (_, shown) = check("  jwksUri: a\n  jwks_uri: b\n");
    assert_eq!(
        shown,
        ["a:4:3: error[IST0106] spec: \"jwksUri\" is set twice, once in snake_case"]
    );
}

#[test]
fn wrong_shapes() {
    let (_, shown) = check("  rules: {mode: STRICT}\n  labels: text\n");
    assert_eq!(
        shown,
        [
            "a:4:10: error[IST0106] spec.rules: expected a list, found a mapping (begin each item with \"- \")",
            "a:5:11: error[IST0106] spec.labels: expected a mapping, found a string (\"text\")",
        ]
    );
}
