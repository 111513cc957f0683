//! The order of containers after the merge.
//!
//! The proxy stands last, so that `kubectl exec` still means the application; first where the application has
//! to wait for it. Capture rules are set up after every other init container, whose traffic has no proxy to
//! go through yet; with a native sidecar they and the proxy come first instead. The check for capture by a CNI plugin
//! is always first: what follows must not run in a pod that the plugin has missed.

use serde_json::Value;

use crate::config::{INIT_CONTAINER, PROXY_CONTAINER, VALIDATION_CONTAINER};
use crate::json::{array_mut, items, name, named};

/// Puts the injected containers where they belong.
pub(crate) fn arrange(pod: &mut Value, holds_application: bool) {
    let spec = &mut pod["spec"];
    let native = named(items(spec, "initContainers"), PROXY_CONTAINER).is_some();
    move_to(spec, "containers", PROXY_CONTAINER, holds_application);
    if native {
        move_to(spec, "initContainers", PROXY_CONTAINER, true);
    }
    move_to(spec, "initContainers", VALIDATION_CONTAINER, true);
    move_to(spec, "initContainers", INIT_CONTAINER, native);
}

fn move_to(spec: &mut Value, list: &str, wanted: &str, first: bool) {
    let Some(at) = items(spec, list)
        .iter()
        .position(|item| name(item) == wanted)
    else {
        return;
    };
    let containers = array_mut(spec, list);
    let container = containers.remove(at);
    let target = if first { 0 } else { containers.len() };
    containers.insert(target, container);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn arranged(init: &[&str], containers: &[&str], hold: bool) -> (Vec<String>, Vec<String>) {
        let list =
            |names: &[&str]| -> Value { names.iter().map(|name| json!({"name": name})).collect() };
        let mut pod =
            json!({"spec": {"initContainers": list(init), "containers": list(containers)}});
        arrange(&mut pod, hold);
        let names = |key| {
            let items = items(&pod["spec"], key);
            items.iter().map(|item| name(item).to_owned()).collect()
        };
        (names("initContainers"), names("containers"))
    }

    #[test]
    fn classic_native_and_holding() {
        let strings = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let classic = arranged(&["istio-init", "setup"], &["istio-proxy", "app"], false);
        assert_eq!(
            classic,
            (
                strings(&["setup", "istio-init"]),
                strings(&["app", "istio-proxy"])
            )
        );
        let native = arranged(&["setup", "istio-init", "istio-proxy"], &["app"], false);
        assert_eq!(
            native,
            (
                strings(&["istio-init", "istio-proxy", "setup"]),
                strings(&["app"])
            )
        );
        let checked = arranged(
            &["setup", "istio-validation", "istio-proxy"],
            &["app"],
            false,
        );
        assert_eq!(
            checked.0,
            strings(&["istio-validation", "istio-proxy", "setup"])
        );
        let checked = arranged(&["setup", "istio-validation"], &["istio-proxy"], false);
        assert_eq!(checked.0, strings(&["istio-validation", "setup"]));
        let holding = arranged(&["istio-init"], &["app", "istio-proxy"], true);
        assert_eq!(
            holding,
            (strings(&["istio-init"]), strings(&["istio-proxy", "app"]))
        );
    }
}
