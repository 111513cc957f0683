//! Envoy's configuration dump (`envoy.admin.v3.ConfigDump`), by resource type.

use serde_json::Value;

/// A dump.
pub(super) struct Dump(Value);

/// Where resources of a type stand: section, list, and the field that holds the resource itself.
type Place = (&'static str, &'static str, &'static [&'static str]);

const LISTENERS: [Place; 2] = [
    ("ListenersConfigDump", "static_listeners", &["listener"]),
    (
        "ListenersConfigDump",
        "dynamic_listeners",
        &["active_state", "listener"],
    ),
];
const CLUSTERS: [Place; 2] = [
    ("ClustersConfigDump", "static_clusters", &["cluster"]),
    (
        "ClustersConfigDump",
        "dynamic_active_clusters",
        &["cluster"],
    ),
];
const ROUTES: [Place; 2] = [
    (
        "RoutesConfigDump",
        "static_route_configs",
        &["route_config"],
    ),
    (
        "RoutesConfigDump",
        "dynamic_route_configs",
        &["route_config"],
    ),
];
const ENDPOINTS: [Place; 2] = [
    (
        "EndpointsConfigDump",
        "static_endpoint_configs",
        &["endpoint_config"],
    ),
    (
        "EndpointsConfigDump",
        "dynamic_endpoint_configs",
        &["endpoint_config"],
    ),
];

impl Dump {
    pub(super) fn new(value: Value) -> Self {
        Self(value)
    }

    pub(super) fn value(&self) -> &Value {
        &self.0
    }

    pub(super) fn listeners(&self) -> Vec<&Value> {
        self.resources(&LISTENERS)
    }

    pub(super) fn clusters(&self) -> Vec<&Value> {
        self.resources(&CLUSTERS)
    }

    pub(super) fn routes(&self) -> Vec<&Value> {
        self.resources(&ROUTES)
    }

    pub(super) fn endpoints(&self) -> Vec<&Value> {
        self.resources(&ENDPOINTS)
    }

    fn resources(&self, places: &[Place]) -> Vec<&Value> {
        let mut found: Vec<&Value> = places.iter().flat_map(|place| self.at(place)).collect();
        found.sort_by_key(|resource| name(resource));
        found
    }

    fn at(&self, (section, list, path): &Place) -> Vec<&Value> {
        let sections = items(&self.0["configs"]);
        let sections = sections.filter(|one| {
            one["@type"]
                .as_str()
                .is_some_and(|kind| kind.ends_with(section))
        });
        let entries = sections.flat_map(|one| items(&one[list]));
        let resource = |entry| {
            path.iter()
                .try_fold(entry, |value: &Value, field| value.get(field))
        };
        entries.filter_map(resource).collect()
    }
}

/// A resource's name.
fn name(resource: &Value) -> &str {
    resource["name"]
        .as_str()
        .or_else(|| resource["cluster_name"].as_str())
        .unwrap_or_default()
}

/// The elements of a list; none if it is not one.
pub(super) fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
        .iter()
}

/// A text field; empty if it is not there.
pub(super) fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_default().to_owned()
}

/// `host:port` of an Envoy address, the path of a socket, or the listener of an internal one.
pub(super) fn address(value: &Value) -> String {
    if let Some(path) = value["pipe"]["path"].as_str() {
        return path.to_owned();
    }
    let socket = &value["socket_address"];
    let host = socket["address"].as_str().unwrap_or("-");
    let port = socket["port_value"].as_u64().unwrap_or_default();
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// Texts joined by commas; `otherwise` if there are none.
pub(super) fn joined(values: impl Iterator<Item = String>, otherwise: &str) -> String {
    let text = values.collect::<Vec<_>>().join(",");
    if text.is_empty() {
        otherwise.to_owned()
    } else {
        text
    }
}
