//! Which fields of Envoy's messages the data plane refuses: found by setting each of them.

use std::sync::Arc;
use std::time::Instant;

use prost_reflect::{Cardinality, DescriptorPool, FieldDescriptor, Kind};
use proxy::executor::{Executor, InForce};
use proxy::listener::shared::Builder;
use proxy::listener::socket::Sockets;
use proxy::telemetry::log_sink::LogSinks;
use proxy::tls::secret_store::SecretStore;
use proxy_xds::apply::{Applier, Received, Translators};
use proxy_xds::context::Node;
use proxy_xds::status::XdsStatus;
use proxy_xds::{lds, rds};
use serde_json::{Map, Value, json};
use xds::json::Json;
use xds::type_url::ResourceType;

/// A message and a resource that holds it.
pub(crate) struct Place {
    /// What the reference calls it.
    pub(crate) title: &'static str,
    /// The message's full name.
    pub(crate) message: &'static str,
    /// A resource that is accepted, with the message at `pointer`.
    pub(crate) resource: Value,
    /// Where the message is.
    pub(crate) pointer: &'static str,
}

/// Sets fields and sees what the proxy says.
pub(crate) struct Probe {
    json: Json,
    pool: DescriptorPool,
}

impl Probe {
    pub(crate) fn new() -> Self {
        let set = concat!(env!("CARGO_MANIFEST_DIR"), "/../xds/descriptors/envoy.bin");
        Self {
            json: Json::load(),
            pool: DescriptorPool::decode(std::fs::read(set).unwrap().as_slice()).unwrap(),
        }
    }

    /// The fields of a place that are refused, and single values of those that are not refused as such.
    pub(crate) fn refused(&self, place: &Place) -> Vec<String> {
        assert_eq!(
            self.refusal(&place.resource),
            None,
            "{}: as it stands",
            place.title
        );
        let message = self.pool.get_message_by_name(place.message);
        let message = message.unwrap_or_else(|| panic!("{} exists", place.message));
        message
            .fields()
            .flat_map(|field| self.refused_values(place, &field))
            .collect()
    }

    fn refused_values(&self, place: &Place, field: &FieldDescriptor) -> Vec<String> {
        let values = values(field);
        let name = field.name();
        let all = values.len();
        let refused = values.into_iter().filter(|(_, value)| {
            let mut resource = place.resource.clone();
            let message = resource.pointer_mut(place.pointer).expect("the message");
            let fields = message.as_object_mut().expect("a message is an object");
            // Of a choice only one may be there.
            if let Some(choice) = field.containing_oneof() {
                choice
                    .fields()
                    .for_each(|other| _ = fields.remove(other.name()));
            }
            fields.insert(name.to_owned(), value.clone());
            let refusal = self.refusal(&resource);
            refusal
                .is_some_and(|reason| reason.contains("not supported") && mentions(&reason, name))
        });
        let refused: Vec<String> = refused.map(|(label, _)| label).collect();
        match refused.len() == all {
            true if all > 0 => vec![format!("`{name}`")],
            _ => refused
                .iter()
                .map(|label| format!("`{name}: {label}`"))
                .collect(),
        }
    }

    /// Why a resource is refused, if it is.
    fn refusal(&self, resource: &Value) -> Option<String> {
        let any = match self.json.decode_any(resource) {
            Ok(any) => any,
            Err(error) => return Some(format!("no JSON: {error}")),
        };
        let status = Arc::new(XdsStatus::default());
        let translators = Translators {
            listener: lds::listener,
            route: rds::route_config,
        };
        let builder = Builder {
            secrets: SecretStore::new(),
            sockets: Sockets::new(1),
            logs: LogSinks::new(),
        };
        let mut applier = Applier::new(
            Executor::new(InForce::default(), builder),
            Arc::new(Node::default()),
            translators,
            status,
        );
        let of = ResourceType::from_url(&any.type_url).expect("the type of a resource");
        let received = Received {
            name: "x".into(),
            version: "1".into(),
            bytes: any.value.into(),
        };
        let refused = applier.apply(of, &[received], &[], Instant::now());
        refused.into_iter().next().map(|(_, reason)| reason)
    }
}

/// True if a reason names the field, not only one around or inside of it.
fn mentions(reason: &str, field: &str) -> bool {
    let path = reason.split(": ").next().unwrap_or_default();
    path.split(['.', '[']).any(|part| part == field)
}

/// Values of a field that mean something, each with a label.
fn values(field: &FieldDescriptor) -> Vec<(String, Value)> {
    if let Some(value) = good_value(field.full_name()) {
        return vec![(String::new(), value)];
    }
    if field.is_map() {
        return vec![(String::new(), json!({}))];
    }
    let one = |value: Value| match field.cardinality() {
        Cardinality::Repeated => json!([value]),
        _ => value,
    };
    match field.kind() {
        Kind::Enum(of) => {
            let values = of.values().filter(|value| value.number() != 0);
            values
                .map(|value| (value.name().to_owned(), one(json!(value.name()))))
                .collect()
        }
        Kind::Message(message) => {
            let value = match message.full_name() {
                "google.protobuf.Duration" => json!("7s"),
                "google.protobuf.BoolValue" => json!(true),
                "google.protobuf.StringValue" => json!("x"),
                "google.protobuf.Any" => {
                    json!({"@type": "type.googleapis.com/google.protobuf.BoolValue", "value": true})
                }
                name if name.starts_with("google.protobuf.")
                    && name.ends_with("Value")
                    && name != "google.protobuf.Value" =>
                {
                    json!(7)
                }
                _ => Value::Object(Map::new()),
            };
            vec![(String::new(), one(value))]
        }
        Kind::Bool => vec![(String::new(), one(json!(true)))],
        Kind::String => vec![(String::new(), one(json!("x")))],
        Kind::Bytes => vec![(String::new(), one(json!("eA==")))],
        _ => vec![(String::new(), one(json!(7)))],
    }
}

/// Values for fields whose empty value is refused and that are supported.
fn good_value(field: &str) -> Option<Value> {
    let extension = |name: &str, config: &str| {
        let config = format!("type.googleapis.com/envoy.extensions.retry.{config}");
        json!({"name": name, "typed_config": {"@type": config}})
    };
    Some(match field {
        "envoy.config.listener.v3.FilterChainMatch.transport_protocol" => json!("tls"),
        "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.hash_policy" => {
            json!([{"source_ip": {}}])
        }
        "envoy.config.route.v3.RetryPolicy.retry_host_predicate" => json!([extension(
            "envoy.retry_host_predicates.previous_hosts",
            "host.previous_hosts.v3.PreviousHostsPredicate",
        )]),
        "envoy.config.route.v3.RetryPolicy.retry_priority" => extension(
            "envoy.retry_priorities.previous_priorities",
            "priority.previous_priorities.v3.PreviousPrioritiesConfig",
        ),
        _ => return None,
    })
}
