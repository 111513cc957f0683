//! The patch of an admission answer: the difference between the pod that came and the pod that goes.

use serde_json::Value;

/// RFC 6902 operations that turn `before` into `after`.
pub fn between(before: &Value, after: &Value) -> json_patch::Patch {
    json_patch::diff(before, after)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_patch_turns_before_into_after() {
        let before = json!({"metadata": {"labels": {"a/b": "1"}}, "spec": {"containers": [{"name": "app"}]}});
        let after = json!({
            "metadata": {"labels": {"a/b": "2", "c~d": "3"}},
            "spec": {"containers": [{"name": "app"}, {"name": "istio-proxy"}], "volumes": []},
        });
        let patch = between(&before, &after);
        let mut patched = before;
        json_patch::patch(&mut patched, &patch).unwrap();
        assert_eq!(patched, after);
    }

    #[test]
    fn no_difference_is_an_empty_patch() {
        let pod = json!({"spec": {}});
        assert!(between(&pod, &pod).0.is_empty());
    }
}
