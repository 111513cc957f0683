//! From a JSON schema of a wire struct to a structural schema.
//!
//! A structural schema gives every value exactly one type and leaves no place for
//! null, which the API server drops where a type does not allow it. Defaults are left
//! out on purpose: objects stay as they were written.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

/// The schema of a wire struct.
pub(super) fn of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::openapi3().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings
        .into_generator()
        .into_root_schema_for::<T>()
        .to_value();
    make_structural(&mut schema);
    schema
}

/// The schema of a whole object.
pub(super) fn object(spec: Option<fn() -> Value>, spec_required: bool) -> Value {
    let spec = spec.map_or_else(anything, |schema| schema());
    let mut schema = json!({
        "type": "object",
        "properties": {"spec": spec, "status": status()},
    });
    if spec_required {
        schema["required"] = json!(["spec"]);
    }
    schema
}

fn status() -> Value {
    let text = || json!({"type": "string"});
    json!({
        "type": "object",
        "description": "What became of the object; written by the control plane.",
        "properties": {
            "observedGeneration": {"type": "integer", "format": "int64"},
            "conditions": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "type": text(),
                        "status": text(),
                        "reason": text(),
                        "message": text(),
                        "observedGeneration": {"type": "integer", "format": "int64"},
                        "lastTransitionTime": {"type": "string", "format": "date-time"},
                    },
                    "x-kubernetes-preserve-unknown-fields": true,
                },
            },
            "validationMessages": {"type": "array", "items": anything()},
        },
        "x-kubernetes-preserve-unknown-fields": true,
    })
}

fn anything() -> Value {
    Value::Object(anything_fields().into_iter().collect())
}

fn anything_fields() -> [(String, Value); 2] {
    [
        ("type".to_owned(), json!("object")),
        (
            "x-kubernetes-preserve-unknown-fields".to_owned(),
            json!(true),
        ),
    ]
}

fn make_structural(schema: &mut Value) {
    let Value::Object(fields) = schema else {
        *schema = anything();
        return;
    };
    for name in ["$schema", "title", "default", "nullable"] {
        fields.remove(name);
    }
    one_line(fields);
    unwrap_optional(fields);
    bound_unsigned(fields);
    // Maps with numbers as keys.
    if let Some(Value::Object(patterns)) = fields.remove("patternProperties") {
        let values = patterns.into_iter().next().map(|(_, schema)| schema);
        fields.insert(
            "additionalProperties".to_owned(),
            values.unwrap_or_default(),
        );
    }
    if let Some(Value::Object(properties)) = fields.get_mut("properties") {
        properties.values_mut().for_each(make_structural);
    }
    for name in ["items", "additionalProperties"] {
        if let Some(part) = fields.get_mut(name) {
            make_structural(part);
        }
    }
    if let Some(Value::Array(values)) = fields.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    // Values that are kept as they are.
    if !fields.contains_key("type") {
        fields.extend(anything_fields());
    }
}

/// Whoever prints a description breaks its lines.
fn one_line(fields: &mut Map<String, Value>) {
    if let Some(Value::String(text)) = fields.get_mut("description") {
        *text = text.replace('\n', " ");
    }
}

/// What is optional may be written as a choice between itself and null.
fn unwrap_optional(fields: &mut Map<String, Value>) {
    let is_null = |choice: &Value| choice.get("nullable").is_some() && choice.get("type").is_none();
    let choices = fields.get("anyOf").and_then(Value::as_array);
    let Some([itself, null]) = choices.map(Vec::as_slice) else {
        return;
    };
    if !is_null(null) {
        return;
    }
    let mut itself = itself.as_object().cloned().unwrap_or_default();
    for name in ["title", "default", "nullable"] {
        itself.remove(name);
    }
    fields.remove("anyOf");
    for (name, value) in itself {
        fields.entry(name).or_insert(value);
    }
}

/// Kubernetes knows no unsigned formats.
fn bound_unsigned(fields: &mut Map<String, Value>) {
    let Some(format) = fields.get("format").and_then(Value::as_str) else {
        return;
    };
    let maximum = match format {
        "uint32" => Some(u32::MAX),
        "uint64" => None,
        _ => return,
    };
    fields.remove("format");
    fields.entry("minimum").or_insert_with(|| json!(0));
    if let Some(maximum) = maximum {
        fields.entry("maximum").or_insert_with(|| json!(maximum));
    }
}
