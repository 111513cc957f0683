//! `/listeners`: names and addresses, as Envoy prints them.

use std::fmt::Write as _;

use axum::Json;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Admin;

#[derive(Deserialize)]
pub(super) struct Parameters {
    format: Option<String>,
}

pub(super) async fn listeners(
    State(admin): State<Admin>,
    Query(parameters): Query<Parameters>,
) -> Response {
    let listeners = admin.in_force.listeners.load();
    if parameters.format.as_deref() == Some("json") {
        let statuses: Vec<Value> = listeners
            .values()
            .map(|listener| {
                json!({
                    "name": &*listener.name,
                    "local_address": {"socket_address": {
                        "address": listener.address.ip().to_string(),
                        "port_value": listener.address.port(),
                    }},
                })
            })
            .collect();
        return Json(json!({ "listener_statuses": statuses })).into_response();
    }
    let mut text = String::new();
    for listener in listeners.values() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}::{}", listener.name, listener.address);
    }
    text.into_response()
}
