//! Small views on JSON values that are Kubernetes objects.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// The map under `key`, made if it is absent or null.
pub(crate) fn object_mut<'a>(value: &'a mut Value, key: &str) -> &'a mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    let slot = &mut value[key];
    if !slot.is_object() {
        *slot = Value::Object(Map::new());
    }
    slot.as_object_mut().expect("was made an object above")
}

/// The list under `key`, made if it is absent or null.
pub(crate) fn array_mut<'a>(value: &'a mut Value, key: &str) -> &'a mut Vec<Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    let slot = &mut value[key];
    if !slot.is_array() {
        *slot = Value::Array(Vec::new());
    }
    slot.as_array_mut().expect("was made a list above")
}

/// The elements under `key`, none if it is not a list.
pub(crate) fn items<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

/// The text under `key`.
pub(crate) fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value[key].as_str()
}

/// The start of a text that its author may have made long, for the log.
pub(crate) fn short(text: &str) -> &str {
    const BYTES_MAX: usize = 256;
    &text[..text.floor_char_boundary(BYTES_MAX)]
}

/// The name of a container, volume, port or environment variable.
pub(crate) fn name(value: &Value) -> &str {
    text(value, "name").unwrap_or_default()
}

/// The strings of a map such as `labels`.
pub(crate) fn string_map(value: &Value) -> BTreeMap<String, String> {
    let entries = value.as_object().into_iter().flatten();
    entries
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

/// The element of a list with this `name`.
pub(crate) fn named<'a>(list: &'a [Value], wanted: &str) -> Option<&'a Value> {
    list.iter().find(|item| name(item) == wanted)
}

/// The lists of a pod's containers.
pub(crate) const CONTAINERS: [&str; 2] = ["containers", "initContainers"];

/// The container of this `name`, in whichever list.
pub(crate) fn container<'a>(spec: &'a Value, wanted: &str) -> Option<&'a Value> {
    named(items(spec, list_with(spec, wanted)?), wanted)
}

/// That of the lists which has a container of this `name`.
pub(crate) fn list_with(spec: &Value, wanted: &str) -> Option<&'static str> {
    CONTAINERS
        .into_iter()
        .find(|list| named(items(spec, list), wanted).is_some())
}

/// Merges `overlay` into `base`: maps key by key, everything else replaced (RFC 7386 without its nulls).
pub(crate) fn merge_deep(base: &mut Value, overlay: &Value) {
    match (base, overlay) {
        (Value::Object(base), Value::Object(overlay)) => {
            for (key, value) in overlay {
                merge_deep(base.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (base, overlay) => *base = overlay.clone(),
    }
}
