//! `google.protobuf.Struct`, the JSON of protobuf, as `serde_json` values and back.
//!
//! Node metadata, filter metadata and typed structs travel in this form.

use serde_json::{Map, Number, Value as Json};

use crate::pb::google::protobuf::value::Kind;
use crate::pb::google::protobuf::{ListValue, Struct, Value};

/// A struct as a JSON object.
pub fn to_json(fields: &Struct) -> Map<String, Json> {
    fields
        .fields
        .iter()
        .map(|(name, value)| (name.clone(), value_to_json(value)))
        .collect()
}

/// A JSON object as a struct.
pub fn from_json(object: &Map<String, Json>) -> Struct {
    Struct {
        fields: object
            .iter()
            .map(|(name, json)| (name.clone(), value_from_json(json)))
            .collect(),
    }
}

/// A value as JSON. A value without kind is null; so is a number that JSON cannot hold.
pub fn value_to_json(value: &Value) -> Json {
    match &value.kind {
        None | Some(Kind::NullValue(_)) => Json::Null,
        Some(Kind::BoolValue(b)) => Json::Bool(*b),
        Some(Kind::NumberValue(n)) => Number::from_f64(*n).map_or(Json::Null, Json::Number),
        Some(Kind::StringValue(s)) => Json::String(s.clone()),
        Some(Kind::ListValue(list)) => list.values.iter().map(value_to_json).collect(),
        Some(Kind::StructValue(fields)) => Json::Object(to_json(fields)),
    }
}

/// A JSON value in protobuf's form. All numbers become floating point.
pub fn value_from_json(json: &Json) -> Value {
    let kind = match json {
        Json::Null => Kind::NullValue(0),
        Json::Bool(b) => Kind::BoolValue(*b),
        Json::Number(n) => Kind::NumberValue(n.as_f64().unwrap_or_default()),
        Json::String(s) => Kind::StringValue(s.clone()),
        Json::Array(items) => Kind::ListValue(ListValue {
            values: items.iter().map(value_from_json).collect(),
        }),
        Json::Object(object) => Kind::StructValue(from_json(object)),
    };
    Value { kind: Some(kind) }
}

/// A string value.
pub fn string(text: impl Into<String>) -> Value {
    Value {
        kind: Some(Kind::StringValue(text.into())),
    }
}

/// A number value.
pub fn number(value: f64) -> Value {
    Value {
        kind: Some(Kind::NumberValue(value)),
    }
}

/// A boolean value.
pub fn boolean(value: bool) -> Value {
    Value {
        kind: Some(Kind::BoolValue(value)),
    }
}

/// A list value.
pub fn list(values: impl IntoIterator<Item = Value>) -> Value {
    let values = values.into_iter().collect();
    Value {
        kind: Some(Kind::ListValue(ListValue { values })),
    }
}

/// A struct as a value.
pub fn nested(fields: Struct) -> Value {
    Value {
        kind: Some(Kind::StructValue(fields)),
    }
}

/// A struct of the given fields.
pub fn object<K: Into<String>>(fields: impl IntoIterator<Item = (K, Value)>) -> Struct {
    Struct {
        fields: fields
            .into_iter()
            .map(|(name, value)| (name.into(), value))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_survives_the_way_there_and_back() {
        let json = json!({"a": [1.5, "x", null, true], "b": {"c": {}}});
        let object = json.as_object().unwrap();
        assert_eq!(to_json(&from_json(object)), *object);
    }

    #[test]
    fn what_json_cannot_hold_is_null() {
        let nan = Value {
            kind: Some(Kind::NumberValue(f64::NAN)),
        };
        assert_eq!(value_to_json(&nan), Json::Null);
        assert_eq!(value_to_json(&Value { kind: None }), Json::Null);
    }
}
