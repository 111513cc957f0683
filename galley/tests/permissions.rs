//! The role of the chart against what galley does.

use galley::manifest;
use galley::permission::{self, Permission};
use serde_json::Value;

/// Rendered by the chart with its default values.
const CHART: &str = include_str!("../../charts/tests/control-plane/default.golden.yaml");

#[test]
fn the_chart_grants_what_is_needed() {
    let (documents, _) = manifest::parse("chart", CHART);
    let roles = documents
        .iter()
        .filter(|document| document.kind() == "ClusterRole");
    let rules: Vec<Value> = roles
        .flat_map(|role| role.json()["rules"].as_array().cloned().unwrap_or_default())
        .collect();
    assert!(!rules.is_empty());
    let needed = permission::reading()
        .into_iter()
        .chain(permission::writing());
    let missing: Vec<Permission> = needed.filter(|one| !is_granted(one, &rules)).collect();
    assert_eq!(missing, vec![]);
}

fn is_granted(one: &Permission, rules: &[Value]) -> bool {
    let has = |list: &Value, text: &str| {
        let items = list.as_array().into_iter().flatten();
        items.filter_map(Value::as_str).any(|item| item == text)
    };
    one.verbs.iter().all(|verb| {
        rules.iter().any(|rule| {
            rule["resourceNames"].is_null()
                && has(&rule["apiGroups"], one.group)
                && has(&rule["resources"], &one.resource)
                && has(&rule["verbs"], verb)
        })
    })
}
