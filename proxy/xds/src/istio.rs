//! Istio's own filters, whose configuration travels as `xds.type.v3.TypedStruct` (or its older names): peer
//! metadata and the standard metrics.

use std::borrow::Cow;

use xds::pb::google::protobuf::Any;
use xds::prost::Message;
use xds::proto::xds_type_v3::TypedStruct;

use super::context::ApplyContext;
use crate::config::error::ConfigError;
use crate::config::filter::peer_metadata::{PeerMetadataConfig, Ways};
use crate::config::filter::stats::StatsConfig;
use crate::config::metadata::{Struct, Value};

/// The message that configures the exchange of metadata.
pub const PEER_METADATA: &str = "io.istio.http.peer_metadata.Config";
/// The message that configures the standard metrics.
pub const STATS: &str = "stats.PluginConfig";
/// The message has had three names; its fields are the same.
const TYPED_STRUCTS: [&str; 3] = [
    "xds.type.v3.TypedStruct",
    "udpa.type.v1.TypedStruct",
    "udpa.type.v3.TypedStruct",
];

/// True if the configuration is a `TypedStruct`.
pub fn is_typed_struct(any: &Any) -> bool {
    TYPED_STRUCTS.contains(&message_name(&any.type_url))
}

/// The full name of the message that an `Any` means: of a `TypedStruct` the name inside it.
///
/// # Errors
/// When it is a malformed `TypedStruct`.
pub fn kind(any: &Any) -> Result<Cow<'_, str>, ConfigError> {
    if !is_typed_struct(any) {
        return Ok(message_name(&any.type_url).into());
    }
    let typed = decode(any)?;
    Ok(message_name(&typed.type_url).to_owned().into())
}

/// The fields of a `TypedStruct`.
///
/// # Errors
/// When it is none.
pub fn fields(any: &Any) -> Result<Struct, ConfigError> {
    let fields = decode(any)?.value;
    Ok(fields
        .as_ref()
        .map(crate::metadata::fields)
        .unwrap_or_default())
}

/// Translates the HTTP filter that exchanges metadata of peers.
///
/// # Errors
/// When it asks for what is not implemented.
pub fn peer_metadata(
    any: &Any,
    context: &ApplyContext<'_>,
) -> Result<PeerMetadataConfig, ConfigError> {
    let fields = fields(any)?;
    let ways = Ways {
        downstream_discovery: way(&fields, "downstream_discovery")?,
        downstream_propagation: way(&fields, "downstream_propagation")?,
        upstream_discovery: way(&fields, "upstream_discovery")?,
        upstream_propagation: way(&fields, "upstream_propagation")?,
    };
    let local = context.node.peer.clone();
    Ok(PeerMetadataConfig { ways, local })
}

/// Translates the filter `istio.stats`, of HTTP or of the network.
///
/// # Errors
/// When it is another filter, or asks for what is not implemented.
pub fn stats_config(any: &Any, context: &ApplyContext<'_>) -> Result<StatsConfig, ConfigError> {
    let typed = decode(any)?;
    match message_name(&typed.type_url) {
        STATS => stats(&fields(any)?, context),
        other => Err(ConfigError::unsupported("", format_args!("\"{other}\""))),
    }
}

fn decode(any: &Any) -> Result<TypedStruct, ConfigError> {
    if !is_typed_struct(any) {
        let message = format!("expected a TypedStruct, found \"{}\"", any.type_url);
        return Err(ConfigError::new("", message));
    }
    TypedStruct::decode(any.value.as_slice())
        .map_err(|error| ConfigError::new("", error.to_string()))
}

fn message_name(type_url: &str) -> &str {
    type_url.rsplit('/').next().unwrap_or_default()
}

/// `istio_headers` is the one method that exists here.
fn way(fields: &Struct, name: &str) -> Result<bool, ConfigError> {
    let methods = match fields.get(name) {
        None => return Ok(false),
        Some(Value::List(methods)) => methods,
        Some(_) => return Err(ConfigError::new(name, "not a list")),
    };
    for method in methods {
        let Value::Struct(method) = method else {
            return Err(ConfigError::new(name, "not a list of methods"));
        };
        if let Some(other) = method
            .iter()
            .map(|(key, _)| key)
            .find(|key| *key != "istio_headers")
        {
            return Err(ConfigError::unsupported(
                name,
                format_args!("the method \"{other}\""),
            ));
        }
    }
    Ok(!methods.is_empty())
}

fn stats(fields: &Struct, context: &ApplyContext<'_>) -> Result<StatsConfig, ConfigError> {
    let mut host_header_fallback = true;
    for (name, value) in fields.iter() {
        match (name, value) {
            ("disable_host_header_fallback", Value::Bool(disabled)) => {
                host_header_fallback = !disabled;
            }
            // Log level, how often series are looked for, and the name that all series have anyway.
            ("debug" | "field_separator" | "value_separator" | "tcp_reporting_duration", _) => {}
            ("stat_prefix", Value::String(prefix)) if &**prefix == "istio" || prefix.is_empty() => {
            }
            ("metrics" | "definitions", Value::List(list)) if list.is_empty() => {}
            (other, _) => {
                return Err(ConfigError::unsupported(
                    other,
                    "this setting of the standard metrics",
                ));
            }
        }
    }
    Ok(StatsConfig {
        local: context.node.peer.clone(),
        host_header_fallback,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use xds::pb::google::protobuf as wire;

    use super::*;
    use crate::config::names::Names;
    use crate::config::secret::ResourceSource;

    fn translate(kind: &str, json: serde_json::Value) -> Result<(), String> {
        let typed = TypedStruct {
            type_url: format!("type.googleapis.com/{kind}"),
            value: Some(wire::Struct {
                fields: fields(&json),
            }),
        };
        let any = Any {
            type_url: "type.googleapis.com/xds.type.v3.TypedStruct".into(),
            value: typed.encode_to_vec(),
        };
        let context = ApplyContext {
            names: &mut Names::default(),
            node: &Arc::default(),
            source: ResourceSource::default(),
            previous_listener: None,
            further_filters: &[],
        };
        let read = match kind {
            STATS => stats_config(&any, &context).map(drop),
            _ => peer_metadata(&any, &context).map(drop),
        };
        read.map_err(|error| error.to_string())
    }

    fn fields(json: &serde_json::Value) -> std::collections::HashMap<String, wire::Value> {
        let members = json.as_object().unwrap().iter();
        members
            .map(|(key, json)| (key.clone(), value(json)))
            .collect()
    }

    fn value(json: &serde_json::Value) -> wire::Value {
        use wire::value::Kind;
        let kind = match json {
            serde_json::Value::Bool(value) => Kind::BoolValue(*value),
            serde_json::Value::String(text) => Kind::StringValue(text.clone()),
            serde_json::Value::Array(values) => Kind::ListValue(wire::ListValue {
                values: values.iter().map(value).collect(),
            }),
            serde_json::Value::Object(_) => Kind::StructValue(wire::Struct {
                fields: fields(json),
            }),
            other => panic!("{other} is not needed"),
        };
        wire::Value { kind: Some(kind) }
    }

    #[test]
    fn what_pilot_sends_is_understood() {
        let headers = || serde_json::json!([{ "istio_headers": {} }]);
        for (kind, json) in [
            (
                PEER_METADATA,
                serde_json::json!({ "upstream_discovery": headers() }),
            ),
            (STATS, serde_json::json!({})),
            (
                STATS,
                serde_json::json!({ "disable_host_header_fallback": true }),
            ),
        ] {
            assert_eq!(translate(kind, json), Ok(()));
        }
    }

    #[test]
    fn what_is_not_implemented_is_named() {
        assert_eq!(
            translate(
                PEER_METADATA,
                serde_json::json!({ "upstream_discovery": [{ "baggage": {} }] })
            ),
            Err("upstream_discovery: the method \"baggage\" is not supported".into())
        );
        assert_eq!(
            translate(STATS, serde_json::json!({ "metrics": [{ "name": "x" }] })),
            Err("metrics: this setting of the standard metrics is not supported".into())
        );
    }
}
