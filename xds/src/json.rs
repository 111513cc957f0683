//! Canonical protobuf JSON for every message of the API, `Any` included.
//!
//! The generated types carry no reflection, so JSON goes through the descriptors in `xds/descriptors`: a
//! trimmed copy of the ones that `envoy-types` ships (`tests/descriptors.rs` makes the copy and notices when
//! it is out of date). Decoding is strict: an unknown field or an unknown type inside an `Any` is an error
//! that says where.
//!
//! The decoded descriptors take some tens of megabytes. They are therefore not kept: whoever holds a [`Json`]
//! keeps them alive, and holders at the same time share them. Nothing on a request path may use this.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use envoy_types::pb::google::protobuf::Any;
use prost::{Message, Name};
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};
use serde_json::Value;
use thiserror::Error;

const DESCRIPTORS: &[u8] = include_bytes!("../descriptors/envoy.bin");

static SHARED: Mutex<Weak<DescriptorPool>> = Mutex::new(Weak::new());

/// Why a message could not be turned into JSON or back.
#[derive(Debug, Error)]
pub enum JsonError {
    /// The type is not part of the API that this program knows.
    #[error("unknown message type \"{0}\"")]
    UnknownType(String),
    /// The JSON does not fit the message.
    #[error("{path}: {source}")]
    Decode {
        /// Where, as `a.b[0].c`; `.` is the whole message.
        path: String,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// The message holds something that has no JSON form, such as an `Any` of an unknown type.
    #[error("{type_name} has no JSON form: {source}")]
    Encode {
        /// The outer message.
        type_name: String,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// The bytes are not the message that they claim to be.
    #[error("{type_name} does not decode: {source}")]
    Bytes {
        /// The message.
        type_name: String,
        /// What is wrong.
        source: prost::DecodeError,
    },
}

/// Turns messages into JSON and back. Cheap to clone; dropping the last one frees the descriptors.
#[derive(Clone)]
pub struct Json {
    pool: Arc<DescriptorPool>,
}

impl Json {
    /// The shared instance, loaded if nobody holds one.
    pub fn load() -> Self {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = shared.upgrade() {
            return Self { pool };
        }
        let pool = DescriptorPool::decode(DESCRIPTORS).expect("the committed descriptors decode");
        let pool = Arc::new(pool);
        *shared = Arc::downgrade(&pool);
        Self { pool }
    }

    /// Whether messages of this type URL can be converted.
    pub fn knows(&self, type_url: &str) -> bool {
        self.descriptor(type_name(type_url)).is_ok()
    }

    /// A message from JSON.
    pub fn decode<M: Message + Name + Default>(&self, json: &Value) -> Result<M, JsonError> {
        let bytes = self.decode_bytes(&M::full_name(), json)?;
        M::decode(bytes.as_slice()).map_err(|source| JsonError::Bytes {
            type_name: M::full_name(),
            source,
        })
    }

    /// The encoded message of the named type from JSON.
    pub fn decode_bytes(&self, type_name: &str, json: &Value) -> Result<Vec<u8>, JsonError> {
        let descriptor = self.descriptor(type_name)?;
        let mut track = serde_path_to_error::Track::new();
        let deserializer = serde_path_to_error::Deserializer::new(json, &mut track);
        match DynamicMessage::deserialize(descriptor, deserializer) {
            Ok(message) => Ok(message.encode_to_vec()),
            Err(source) => Err(JsonError::Decode {
                path: track.path().to_string(),
                source,
            }),
        }
    }

    /// An `Any` from its JSON, `{"@type": ..., ...}`.
    pub fn decode_any(&self, json: &Value) -> Result<Any, JsonError> {
        self.decode(json)
    }

    /// A message as JSON: field names as in the API (`snake_case`, as Envoy's admin prints them), unset fields
    /// left out.
    pub fn encode<M: Message + Name>(&self, message: &M) -> Result<Value, JsonError> {
        self.encode_bytes(&M::full_name(), &message.encode_to_vec())
    }

    /// The encoded message of the named type as JSON.
    pub fn encode_bytes(&self, type_name: &str, bytes: &[u8]) -> Result<Value, JsonError> {
        let descriptor = self.descriptor(type_name)?;
        let message =
            DynamicMessage::decode(descriptor, bytes).map_err(|source| JsonError::Bytes {
                type_name: type_name.to_owned(),
                source,
            })?;
        let options = SerializeOptions::new().use_proto_field_name(true);
        message
            .serialize_with_options(serde_json::value::Serializer, &options)
            .map_err(|source| JsonError::Encode {
                type_name: type_name.to_owned(),
                source,
            })
    }

    /// A resource as JSON with `@type`, as `config_dump` shows it. What cannot be converted, because it holds
    /// a type from outside the API, is shown as its type and its bytes in base64.
    pub fn encode_resource(&self, type_url: &str, bytes: &[u8]) -> Value {
        match self.encode_bytes(type_name(type_url), bytes) {
            Ok(Value::Object(mut fields)) => {
                fields.insert("@type".to_owned(), type_url.into());
                Value::Object(fields)
            }
            Ok(other) => serde_json::json!({ "@type": type_url, "value": other }),
            Err(error) => {
                use base64::Engine as _;
                let value = base64::engine::general_purpose::STANDARD.encode(bytes);
                serde_json::json!({
                    "@type": type_url,
                    "value": value,
                    "error": error.to_string(),
                })
            }
        }
    }

    fn descriptor(&self, type_name: &str) -> Result<MessageDescriptor, JsonError> {
        self.pool
            .get_message_by_name(type_name)
            .ok_or_else(|| JsonError::UnknownType(type_name.to_owned()))
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Json").finish_non_exhaustive()
    }
}

/// `a.b.C` of `type.googleapis.com/a.b.C`.
fn type_name(type_url: &str) -> &str {
    type_url.rsplit_once('/').map_or(type_url, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::config::bootstrap::v3::Bootstrap;
    use envoy_types::pb::envoy::config::listener::v3::Listener;
    use serde_json::json;

    use super::*;

    fn listener() -> Value {
        json!({
            "name": "echo",
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": 8080}},
            "filter_chains": [{"filters": [{
                "name": "envoy.filters.network.tcp_proxy",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
                    "stat_prefix": "echo",
                    "cluster": "backend",
                    "idle_timeout": "1.500s"
                }
            }]}],
            "use_original_dst": true
        })
    }

    #[test]
    fn a_listener_survives_the_way_there_and_back() {
        let json = Json::load();
        let message: Listener = json.decode(&listener()).unwrap();
        assert_eq!(message.name, "echo");
        assert_eq!(json.encode(&message).unwrap(), listener());
    }

    #[test]
    fn an_unknown_field_is_an_error_that_says_where() {
        let mut bad = listener();
        bad["filter_chains"][0]["filterz"] = json!([]);
        let error = Json::load().decode::<Listener>(&bad).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("filter_chains[0]: unrecognized field name 'filterz'"),
            "{error}"
        );
    }

    #[test]
    fn an_unknown_type_inside_any_is_an_error() {
        let mut bad = listener();
        bad["filter_chains"][0]["filters"][0]["typed_config"] =
            json!({"@type": "type.googleapis.com/no.such.Type"});
        let error = Json::load().decode::<Listener>(&bad).unwrap_err();
        assert!(error.to_string().contains("no.such.Type"), "{error}");
    }

    #[test]
    fn camel_case_names_are_understood_as_well() {
        let bootstrap: Bootstrap = Json::load()
            .decode(&json!({"staticResources": {"clusters": [{"name": "a", "connectTimeout": "0.25s"}]}}))
            .unwrap();
        let cluster = &bootstrap.static_resources.unwrap().clusters[0];
        assert_eq!(
            cluster.connect_timeout.as_ref().map(|d| d.nanos),
            Some(250_000_000)
        );
    }

    #[test]
    fn a_resource_of_a_foreign_type_is_shown_as_bytes() {
        let value = Json::load().encode_resource("type.googleapis.com/no.such.Type", b"abc");
        assert_eq!(value["value"], "YWJj");
    }
}
