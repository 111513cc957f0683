//! Kubernetes' strategic merge for pods: maps merge, and lists with a merge key merge element by element.
//!
//! The merge keys are those of the PodSpec's schema (`x-kubernetes-patch-merge-key`). A list without one is
//! replaced as a whole. `null` removes, as in every Kubernetes merge, and so does the directive `$patch: delete` the
//! element of a list; `$patch: replace` replaces one, or a map, instead of merging it.

use std::collections::{HashMap, VecDeque};

use serde_json::{Map, Value};

/// Lists that merge by key, with the fields that make the key.
const MERGE_KEYS: [(&str, &[&str]); 10] = [
    ("containers", &["name"]),
    ("initContainers", &["name"]),
    ("volumes", &["name"]),
    ("env", &["name"]),
    ("ports", &["containerPort", "protocol"]),
    ("volumeMounts", &["mountPath"]),
    ("volumeDevices", &["devicePath"]),
    ("imagePullSecrets", &["name"]),
    ("hostAliases", &["ip"]),
    (
        "topologySpreadConstraints",
        &["topologyKey", "whenUnsatisfiable"],
    ),
];

/// The key of a directive in a map.
const DIRECTIVE: &str = "$patch";

/// Merges `overlay` over `base`; where both say something the overlay wins.
pub fn merge(base: &mut Value, overlay: &Value) {
    match (base, overlay) {
        (Value::Object(base), Value::Object(overlay)) => merge_maps(base, overlay),
        (base, overlay) => *base = overlay.clone(),
    }
}

fn merge_maps(base: &mut Map<String, Value>, overlay: &Map<String, Value>) {
    if overlay.get(DIRECTIVE).is_some_and(|word| word == "replace") {
        base.clear();
    }
    for (key, value) in overlay.iter().filter(|(key, _)| *key != DIRECTIVE) {
        if value.is_null() {
            base.remove(key);
            continue;
        }
        let slot = base.entry(key.clone()).or_insert_with(|| empty(value));
        match (slot, value, merge_key(key)) {
            (Value::Array(base), Value::Array(overlay), Some(fields)) => {
                merge_lists(base, overlay, fields);
            }
            (slot, value, _) => merge(slot, value),
        }
    }
}

/// What something is merged into that was not there.
fn empty(value: &Value) -> Value {
    match value {
        Value::Array(_) => Value::Array(Vec::new()),
        Value::Object(_) => Value::Object(Map::new()),
        _ => Value::Null,
    }
}

/// Both lists may be the pod's author's and as long as a pod can be, so elements are found by an index.
fn merge_lists(base: &mut Vec<Value>, overlay: &[Value], fields: &[&str]) {
    let mut places: HashMap<Vec<Value>, VecDeque<usize>> = HashMap::with_capacity(base.len());
    for (at, item) in base.iter().enumerate() {
        places.entry(key(item, fields)).or_default().push_back(at);
    }
    let mut merged: Vec<Option<Value>> = std::mem::take(base).into_iter().map(Some).collect();
    for item in overlay {
        let places = places.entry(key(item, fields)).or_default();
        let deletes = item[DIRECTIVE] == "delete";
        match places.front().copied() {
            Some(at) if deletes => {
                merged[at] = None;
                places.pop_front();
            }
            Some(at) => merge(merged[at].get_or_insert_default(), item),
            None if deletes => {}
            None => {
                let mut new = empty(item);
                merge(&mut new, item);
                places.push_back(merged.len());
                merged.push(Some(new));
            }
        }
    }
    base.extend(merged.into_iter().flatten());
}

fn merge_key(list: &str) -> Option<&'static [&'static str]> {
    MERGE_KEYS
        .iter()
        .find(|(name, _)| *name == list)
        .map(|(_, fields)| *fields)
}

fn key(item: &Value, fields: &[&str]) -> Vec<Value> {
    fields.iter().map(|field| key_part(item, field)).collect()
}

/// A missing protocol is TCP, by the schema's default.
fn key_part(item: &Value, field: &str) -> Value {
    match &item[field] {
        Value::Null if field == "protocol" => Value::from("TCP"),
        part => part.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(mut base: Value, overlay: Value, expected: Value) {
        merge(&mut base, &overlay);
        assert_eq!(base, expected);
    }

    #[test]
    fn containers_merge_by_name_and_their_lists_by_their_keys() {
        check(
            json!({"containers": [
                {"name": "app", "image": "a"},
                {"name": "istio-proxy", "image": "p", "args": ["x", "y"],
                 "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                 "ports": [{"containerPort": 15090, "name": "metrics"}]},
            ]}),
            json!({"containers": [
                {"name": "istio-proxy", "args": ["z"],
                 "env": [{"name": "B", "value": "3"}, {"name": "C", "value": "4"}],
                 "ports": [{"containerPort": 15090, "protocol": "TCP", "hostPort": 9},
                           {"containerPort": 15090, "protocol": "UDP"}]},
            ]}),
            json!({"containers": [
                {"name": "app", "image": "a"},
                {"name": "istio-proxy", "image": "p", "args": ["z"],
                 "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "3"},
                         {"name": "C", "value": "4"}],
                 "ports": [{"containerPort": 15090, "protocol": "TCP", "name": "metrics", "hostPort": 9},
                           {"containerPort": 15090, "protocol": "UDP"}]},
            ]}),
        );
    }

    #[test]
    fn directives_delete_and_replace_and_are_not_left_behind() {
        check(
            json!({
                "containers": [{"name": "a", "image": "i"}, {"name": "b", "image": "i", "tty": true}],
                "securityContext": {"runAsUser": 1, "fsGroup": 2},
            }),
            json!({
                "containers": [
                    {"name": "a", "$patch": "delete"},
                    {"name": "b", "$patch": "replace", "image": "j"},
                    {"name": "c", "$patch": "delete"},
                ],
                "securityContext": {"$patch": "replace", "runAsUser": 3},
                "volumes": [{"name": "v", "$patch": "delete"}, {"name": "w", "$patch": "replace"}],
            }),
            json!({
                "containers": [{"name": "b", "image": "j"}],
                "securityContext": {"runAsUser": 3},
                "volumes": [{"name": "w"}],
            }),
        );
    }

    #[test]
    fn of_elements_with_the_same_key_the_first_is_meant() {
        check(
            json!({"volumes": [{"name": "a", "x": 1}, {"name": "a", "x": 2}, {"name": "a", "x": 3}]}),
            json!({"volumes": [{"name": "a", "$patch": "delete"}, {"name": "a", "x": 4}]}),
            json!({"volumes": [{"name": "a", "x": 4}, {"name": "a", "x": 3}]}),
        );
    }

    #[test]
    fn null_removes_and_unknown_fields_survive() {
        check(
            json!({"a": 1, "b": {"c": 2}, "future": [{"x": 1}]}),
            json!({"a": null, "b": {"d": 3}, "e": null}),
            json!({"b": {"c": 2, "d": 3}, "future": [{"x": 1}]}),
        );
    }
}
