//! `envoy.config.core.v3.Metadata` and `google.protobuf.Struct` from protobuf.

use xds::pb::google::protobuf as wire;

use crate::config::metadata::{Metadata, Struct, Value};

/// Metadata by filter name. Typed metadata is not looked at: nothing here reads it.
pub fn metadata(proto: Option<&xds::envoy::core::Metadata>) -> Metadata {
    let mut metadata = Metadata::default();
    for (name, proto) in proto.into_iter().flat_map(|proto| &proto.filter_metadata) {
        metadata.insert(name, fields(proto));
    }
    metadata
}

/// The fields of a struct.
pub fn fields(proto: &wire::Struct) -> Struct {
    let fields = proto.fields.iter();
    fields
        .map(|(key, proto)| (key.as_str().into(), value(proto)))
        .collect()
}

fn value(proto: &wire::Value) -> Value {
    use wire::value::Kind;
    match &proto.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(value)) => Value::Bool(*value),
        Some(Kind::NumberValue(number)) => Value::Number((*number).into()),
        Some(Kind::StringValue(text)) => Value::String(text.as_str().into()),
        Some(Kind::ListValue(list)) => Value::List(list.values.iter().map(value).collect()),
        Some(Kind::StructValue(proto)) => Value::Struct(fields(proto)),
    }
}
