//! The patch of an admission answer: the difference between the pod that came and the pod that goes.
//!
//! Differs from Istio, which compares down to the last field: only what injection changes one by one is compared key
//! by key, everything else is replaced whole. A path for each field of a list in which every element has moved would
//! make the patch many times as large as the pod, whose author chooses keys and lists.

use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, Patch, PatchOperation, RemoveOperation, ReplaceOperation};
use serde_json::{Map, Value};

/// The maps that are compared key by key.
const OPEN: [&str; 5] = [
    "",
    "/metadata",
    "/metadata/annotations",
    "/metadata/labels",
    "/spec",
];

/// RFC 6902 operations that turn `before` into `after`; not longer than a few times `after`.
pub fn between(before: &Value, after: &Value) -> Patch {
    let mut patch = Patch::default();
    compare(before, after, &mut PointerBuf::new(), &mut patch);
    patch
}

fn compare(before: &Value, after: &Value, path: &mut PointerBuf, patch: &mut Patch) {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) if OPEN.contains(&path.as_str()) => {
            compare_maps(before, after, path, patch);
        }
        _ if before == after => {}
        _ => patch.0.push(PatchOperation::Replace(ReplaceOperation {
            path: path.clone(),
            value: after.clone(),
        })),
    }
}

fn compare_maps(
    before: &Map<String, Value>,
    after: &Map<String, Value>,
    path: &mut PointerBuf,
    patch: &mut Patch,
) {
    for (key, value) in after {
        path.push_back(key.as_str());
        match before.get(key) {
            Some(before) => compare(before, value, path, patch),
            None => patch.0.push(PatchOperation::Add(AddOperation {
                path: path.clone(),
                value: value.clone(),
            })),
        }
        path.pop_back();
    }
    for key in before.keys().filter(|key| !after.contains_key(*key)) {
        path.push_back(key.as_str());
        let path_of_key = path.clone();
        patch.0.push(PatchOperation::Remove(RemoveOperation {
            path: path_of_key,
        }));
        path.pop_back();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_patch_turns_before_into_after() {
        let before = json!({
            "metadata": {"labels": {"a/b": "1", "e": "5"}},
            "spec": {"containers": [{"name": "app"}], "nodeName": "x"},
        });
        let after = json!({
            "metadata": {"labels": {"a/b": "2", "c~d": "3"}, "annotations": {"f": "6"}},
            "spec": {"containers": [{"name": "app"}, {"name": "istio-proxy"}], "volumes": []},
        });
        let patch = between(&before, &after);
        let expected = json!([
            {"op": "add", "path": "/metadata/annotations", "value": {"f": "6"}},
            {"op": "replace", "path": "/metadata/labels/a~1b", "value": "2"},
            {"op": "add", "path": "/metadata/labels/c~0d", "value": "3"},
            {"op": "remove", "path": "/metadata/labels/e"},
            {"op": "replace", "path": "/spec/containers", "value": [{"name": "app"}, {"name": "istio-proxy"}]},
            {"op": "add", "path": "/spec/volumes", "value": []},
            {"op": "remove", "path": "/spec/nodeName"},
        ]);
        assert_eq!(json!(patch), expected);
        let mut patched = before;
        json_patch::patch(&mut patched, &patch).unwrap();
        assert_eq!(patched, after);
    }

    #[test]
    fn no_difference_is_an_empty_patch() {
        let pod = json!({"spec": {}});
        assert!(between(&pod, &pod).0.is_empty());
    }

    #[test]
    fn moved_containers_make_no_patch_longer_than_the_pod() {
        let container = |numbers: [u32; 2]| json!({"x".repeat(10_000): vec![json!(numbers); 1000]});
        let before = json!({"spec": {"containers": [container([1, 2]), container([3, 4])]}});
        let after = json!({"spec": {"containers": [container([3, 4]), container([1, 2])]}});
        let patch = json!(between(&before, &after)).to_string();
        assert!(patch.len() < 2 * after.to_string().len(), "{}", patch.len());
    }
}
