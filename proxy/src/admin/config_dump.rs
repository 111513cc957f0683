//! `/config_dump` in Envoy's JSON.
//!
//! The messages are those that the control plane sent, turned into JSON here and now: nothing is kept for this
//! page. Keys are replaced by `[redacted]`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use xds::json::Json;
use xds::type_url::{self, ResourceType};

use super::Admin;
use super::certs::rfc3339;
use crate::config::secret::ResourceSource;
use crate::listener::shared::Listeners;
use crate::upstream::runtime::Runtime;
use proxy_xds::status::Rejection;

#[derive(Deserialize)]
pub(super) struct Parameters {
    /// Only this list, e.g. `dynamic_listeners`.
    resource: Option<String>,
    include_eds: Option<String>,
}

type Rejections = BTreeMap<(ResourceType, Arc<str>), Rejection>;

pub(super) async fn config_dump(
    State(admin): State<Admin>,
    Query(parameters): Query<Parameters>,
) -> Response {
    // Converting a large configuration takes a while, and other pages must answer meanwhile.
    let include_eds = parameters.include_eds.is_some()
        || parameters
            .resource
            .as_deref()
            .is_some_and(|name| name.contains("endpoint"));
    let dump = tokio::task::spawn_blocking(move || dump(&admin, include_eds)).await;
    let Ok(configs) = dump else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let configs = match &parameters.resource {
        None => configs,
        Some(name) => configs
            .iter()
            .filter_map(|config| config.get(name)?.as_array())
            .flatten()
            .cloned()
            .collect(),
    };
    match serde_json::to_string_pretty(&json!({ "configs": configs })) {
        Ok(text) => ([(CONTENT_TYPE, "application/json")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

fn dump(admin: &Admin, include_eds: bool) -> Vec<Value> {
    let json = Json::load();
    let runtime = admin.in_force.runtime.load();
    let rejections = admin.status.rejections();
    let mut configs = vec![
        bootstrap(&json, admin),
        clusters(&json, &runtime, &rejections),
        listeners(&json, &admin.in_force.listeners.load(), &rejections),
        routes(&json, &runtime, &rejections),
        secrets(admin),
    ];
    if include_eds {
        configs.push(endpoints(&json, &runtime));
    }
    configs
}

fn of_type(name: &str) -> String {
    format!("type.googleapis.com/envoy.admin.v3.{name}")
}

fn bootstrap(json: &Json, admin: &Admin) -> Value {
    let bootstrap = json.encode(&*admin.bootstrap);
    let bootstrap = bootstrap.unwrap_or_else(|error| error.to_string().into());
    json!({"@type": of_type("BootstrapConfigDump"), "bootstrap": redacted(bootstrap)})
}

fn resource(json: &Json, kind: ResourceType, source: &ResourceSource) -> Value {
    redacted(json.encode_resource(kind.url(), &source.bytes))
}

fn is_static(source: &ResourceSource) -> bool {
    &*source.version == "static"
}

/// The last version that was refused, as Envoy's `error_state`.
fn error_state(rejections: &Rejections, kind: ResourceType, name: &str) -> Option<Value> {
    let rejection = rejections.get(&(kind, name.into()))?;
    Some(json!({"details": rejection.reason, "version_info": &*rejection.version}))
}

/// Names of which no version was ever accepted.
fn only_rejected(
    rejections: &Rejections,
    kind: ResourceType,
    known: impl Fn(&str) -> bool,
) -> Vec<&Arc<str>> {
    let names = rejections.keys().filter(|(rejected, _)| *rejected == kind);
    names
        .map(|(_, name)| name)
        .filter(|name| !known(name))
        .collect()
}

fn clusters(json: &Json, runtime: &Runtime, rejections: &Rejections) -> Value {
    let kind = ResourceType::Cluster;
    let (mut fixed, mut dynamic) = (Vec::new(), Vec::new());
    for cluster in runtime.clusters.iter().flatten() {
        let body = resource(json, kind, &cluster.source);
        if is_static(&cluster.source) {
            fixed.push(json!({ "cluster": body }));
        } else {
            let mut entry = json!({"version_info": &*cluster.source.version, "cluster": body});
            if let Some(error) = error_state(rejections, kind, &cluster.name) {
                entry["error_state"] = error;
            }
            dynamic.push(entry);
        }
    }
    let known = |name: &str| runtime.clusters.iter().flatten().any(|c| &*c.name == name);
    for name in only_rejected(rejections, kind, known) {
        let error = error_state(rejections, kind, name);
        dynamic.push(json!({"cluster": {"name": &**name}, "error_state": error}));
    }
    json!({
        "@type": of_type("ClustersConfigDump"),
        "static_clusters": fixed,
        "dynamic_active_clusters": dynamic,
    })
}

fn listeners(json: &Json, listeners: &Listeners, rejections: &Rejections) -> Value {
    let kind = ResourceType::Listener;
    let (mut fixed, mut dynamic) = (Vec::new(), Vec::new());
    for listener in listeners.values() {
        let body = resource(json, kind, &listener.source);
        if is_static(&listener.source) {
            fixed.push(json!({ "listener": body }));
        } else {
            let mut entry = json!({
                "name": &*listener.name,
                "active_state": {"version_info": &*listener.source.version, "listener": body},
            });
            if let Some(error) = error_state(rejections, kind, &listener.name) {
                entry["error_state"] = error;
            }
            dynamic.push(entry);
        }
    }
    for name in only_rejected(rejections, kind, |name| listeners.contains_key(name)) {
        let error = error_state(rejections, kind, name);
        dynamic.push(json!({"name": &**name, "error_state": error}));
    }
    json!({
        "@type": of_type("ListenersConfigDump"),
        "static_listeners": fixed,
        "dynamic_listeners": dynamic,
    })
}

fn routes(json: &Json, runtime: &Runtime, rejections: &Rejections) -> Value {
    let kind = ResourceType::Route;
    let mut dynamic = Vec::new();
    for table in runtime.routes.iter().flatten() {
        let mut entry = json!({
            "version_info": &*table.source.version,
            "route_config": resource(json, kind, &table.source),
        });
        if let Some(error) = error_state(rejections, kind, &table.name) {
            entry["error_state"] = error;
        }
        dynamic.push(entry);
    }
    json!({
        "@type": of_type("RoutesConfigDump"),
        "static_route_configs": [],
        "dynamic_route_configs": dynamic,
    })
}

fn endpoints(json: &Json, runtime: &Runtime) -> Value {
    let mut dynamic = Vec::new();
    for assignment in runtime.endpoints.iter().flatten() {
        if assignment.config.source.bytes.is_empty() {
            continue;
        }
        let body = resource(json, ResourceType::Endpoint, &assignment.config.source);
        dynamic.push(json!({
            "version_info": &*assignment.config.source.version,
            "endpoint_config": body,
        }));
    }
    json!({
        "@type": of_type("EndpointsConfigDump"),
        "dynamic_endpoint_configs": dynamic,
    })
}

/// Secrets are rebuilt from what was parsed: the bytes with the key are not kept.
fn secrets(admin: &Admin) -> Value {
    use crate::tls::secret::Secret;
    let mut dynamic = Vec::new();
    for (name, entry) in admin.secrets.entries() {
        let mut secret = json!({"@type": type_url::SECRET, "name": &*name.name});
        match &entry.secret {
            Secret::Certificate(certificate) => {
                let chain = pem(&certificate.key.cert);
                secret["tls_certificate"] = json!({
                    "certificate_chain": {"inline_bytes": base64(chain.as_bytes())},
                    "private_key": {"inline_bytes": base64(b"[redacted]")},
                });
            }
            Secret::Validation(validation) => {
                let roots = validation
                    .roots
                    .as_ref()
                    .map(|roots| pem(&roots.certificates));
                secret["validation_context"] = json!({
                    "trusted_ca": {"inline_bytes": base64(roots.unwrap_or_default().as_bytes())},
                });
            }
        }
        dynamic.push(json!({
            "name": &*name.name,
            "version_info": &*entry.version,
            "last_updated": rfc3339(entry.updated),
            "secret": secret,
        }));
    }
    json!({
        "@type": of_type("SecretsConfigDump"),
        "dynamic_active_secrets": dynamic,
    })
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn pem(certificates: &[rustls::pki_types::CertificateDer<'_>]) -> String {
    certificates
        .iter()
        .map(|der| {
            let text = base64(der);
            let lines: Vec<&str> = text
                .as_bytes()
                .chunks(64)
                .filter_map(|line| std::str::from_utf8(line).ok())
                .collect();
            format!(
                "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
                lines.join("\n")
            )
        })
        .collect()
}

/// Replaces private keys and passwords wherever they stand.
fn redacted(mut value: Value) -> Value {
    match &mut value {
        Value::Object(fields) => {
            for (name, field) in fields.iter_mut() {
                let secret = matches!(name.as_str(), "private_key" | "password");
                *field = match secret {
                    true => "[redacted]".into(),
                    false => redacted(field.take()),
                };
            }
        }
        Value::Array(items) => {
            for item in items {
                *item = redacted(item.take());
            }
        }
        _ => {}
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_not_shown() {
        let value = json!({"a": [{"private_key": {"inline_string": "k"}, "certificate_chain": 1}]});
        assert_eq!(
            redacted(value),
            json!({"a": [{"private_key": "[redacted]", "certificate_chain": 1}]})
        );
    }
}
