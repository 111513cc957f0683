//! Istio's own filters, whose configuration travels as `xds.type.v3.TypedStruct` (or its older names): peer
//! metadata and the standard metrics.

use xds::pb::google::protobuf::Any;
use xds::prost::Message;
use xds::proto::xds_type_v3::TypedStruct;

use super::context::ApplyContext;
use crate::config::error::{ConfigError, Within};
use crate::config::filter::FilterConfig;
use crate::config::filter::peer_metadata::{PeerMetadataConfig, Ways};
use crate::config::filter::stats::StatsConfig;
use crate::config::metadata::{Struct, Value};

const PEER_METADATA: &str = "io.istio.http.peer_metadata.Config";
const STATS: &str = "stats.PluginConfig";
/// The message has had three names; its fields are the same.
const TYPED_STRUCTS: [&str; 3] = [
    "xds.type.v3.TypedStruct",
    "udpa.type.v1.TypedStruct",
    "udpa.type.v3.TypedStruct",
];

/// True if the configuration is a `TypedStruct`, which [`http_filter`] and [`stats_config`] read.
pub fn is_typed_struct(any: &Any) -> bool {
    TYPED_STRUCTS.contains(&message_name(&any.type_url))
}

/// Translates one of Istio's HTTP filters: the message that configures it, and what it says.
///
/// # Errors
/// When it is another filter, or asks for what is not implemented.
pub fn http_filter(
    any: &Any,
    context: &ApplyContext<'_>,
) -> Result<(Box<str>, FilterConfig), ConfigError> {
    let (kind, fields) = decode(any)?;
    match message_name(&kind) {
        PEER_METADATA => {
            let ways = Ways {
                downstream_discovery: way(&fields, "downstream_discovery")?,
                downstream_propagation: way(&fields, "downstream_propagation")?,
                upstream_discovery: way(&fields, "upstream_discovery")?,
                upstream_propagation: way(&fields, "upstream_propagation")?,
            };
            let local = context.node.peer.clone();
            let config = FilterConfig::new(PeerMetadataConfig { ways, local });
            Ok((PEER_METADATA.into(), config))
        }
        STATS => {
            let config = FilterConfig::new(stats(&fields, context)?);
            Ok((STATS.into(), config))
        }
        other => Err(ConfigError::unsupported(
            "typed_config",
            format_args!("\"{other}\""),
        )),
    }
}

/// Translates the network filter `istio.stats`.
///
/// # Errors
/// When it is another filter, or asks for what is not implemented.
pub fn stats_config(any: &Any, context: &ApplyContext<'_>) -> Result<StatsConfig, ConfigError> {
    let (kind, fields) = decode(any)?;
    match message_name(&kind) {
        STATS => stats(&fields, context),
        other => Err(ConfigError::unsupported(
            "typed_config",
            format_args!("\"{other}\""),
        )),
    }
}

fn decode(any: &Any) -> Result<(String, Struct), ConfigError> {
    if !is_typed_struct(any) {
        let message = format!("expected a TypedStruct, found \"{}\"", any.type_url);
        return Err(ConfigError::new("typed_config", message));
    }
    let typed = TypedStruct::decode(any.value.as_slice());
    let typed = typed.map_err(|error| ConfigError::new("typed_config", error.to_string()))?;
    Ok((
        typed.type_url,
        typed
            .value
            .as_ref()
            .map(crate::metadata::fields)
            .unwrap_or_default(),
    ))
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
                ))
                .within("typed_config");
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
        };
        http_filter(&any, &context)
            .map(|_| ())
            .map_err(|error| error.to_string())
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
            Err(
                "typed_config.metrics: this setting of the standard metrics is not supported"
                    .into()
            )
        );
    }
}
