//! `/stats` and `/stats/prometheus`.

use std::fmt::Write as _;

use axum::extract::{Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use mesh_api::regex::Regex;
use serde::Deserialize;

use super::Admin;
use crate::telemetry::Registry;
use crate::telemetry::prometheus::{self, Number, render};
use crate::telemetry::stats::{Cells, Kind, Scopes};

#[derive(Deserialize)]
pub(super) struct Parameters {
    filter: Option<String>,
    usedonly: Option<String>,
    format: Option<String>,
}

pub(super) async fn stats(
    State(admin): State<Admin>,
    Query(parameters): Query<Parameters>,
) -> Response {
    if parameters.format.as_deref() == Some("prometheus") {
        return prometheus_page(State(admin)).await;
    }
    let filter = parameters.filter.as_deref().map(Regex::partial_match);
    let filter = filter.transpose();
    let filter = match filter {
        Ok(filter) => filter,
        Err(error) => {
            return (axum::http::StatusCode::BAD_REQUEST, format!("{error}\n")).into_response();
        }
    };
    let mut all = all(&admin);
    all.retain(|(name, value)| {
        let used = parameters.usedonly.is_none() || *value > 0;
        used && filter
            .as_ref()
            .is_none_or(|filter| filter.is_match(name.as_bytes()))
    });
    if parameters.format.as_deref() == Some("json") {
        let stats: Vec<_> = all
            .into_iter()
            .map(|(name, value)| serde_json::json!({"name": name, "value": value}))
            .collect();
        return axum::Json(serde_json::json!({ "stats": stats })).into_response();
    }
    let mut text = String::new();
    for (name, value) in all {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name}: {value}");
    }
    text.into_response()
}

/// Counters by Envoy's dotted names, sorted.
fn all(admin: &Admin) -> Vec<(String, u64)> {
    let mut all = vec![
        (
            "server.live".to_owned(),
            u64::from(admin.readiness.is_ready()),
        ),
        (
            "server.total_connections".to_owned(),
            admin.balance.total() as u64,
        ),
        (
            "control_plane.connected_state".to_owned(),
            u64::from(admin.status.connected()),
        ),
    ];
    let Registry {
        clusters,
        http,
        http_rbac,
        tcp_rbac,
        listeners,
        tcp,
        ..
    } = &*admin.registry;
    scope("cluster", clusters, "", &mut all);
    scope("http", http, "", &mut all);
    scope("http", http_rbac, "rbac.", &mut all);
    scope("", tcp_rbac, "rbac.", &mut all);
    scope("listener", listeners, "", &mut all);
    scope("tcp", tcp, "", &mut all);
    all.sort();
    all
}

fn scope<T: Cells>(prefix: &str, scopes: &Scopes<T>, part: &str, all: &mut Vec<(String, u64)>) {
    let dot = if prefix.is_empty() { "" } else { "." };
    for (name, values) in scopes.sums() {
        for ((field, _), value) in T::fields().iter().zip(values) {
            all.push((format!("{prefix}{dot}{name}.{part}{field}"), value));
        }
    }
}

pub(super) async fn prometheus_page(State(admin): State<Admin>) -> Response {
    let text = render(&admin.registry, &numbers(&admin));
    ([(CONTENT_TYPE, prometheus::CONTENT_TYPE)], text).into_response()
}

/// Metrics of the process: what is not counted on workers. All are gauges.
pub const PROCESS_METRICS: [(&str, &str); 5] = [
    ("envoy_server_live", "1 while the proxy is ready."),
    (
        "envoy_server_total_connections",
        "Connections of clients that are open.",
    ),
    ("envoy_server_concurrency", "Worker threads."),
    ("envoy_server_uptime", "Seconds since the start."),
    (
        "envoy_control_plane_connected_state",
        "1 while the control plane is connected.",
    ),
];

fn numbers(admin: &Admin) -> Vec<Number> {
    let values = [
        u64::from(admin.readiness.is_ready()),
        admin.balance.total() as u64,
        admin.workers as u64,
        admin.start.elapsed().as_secs(),
        u64::from(admin.status.connected()),
    ];
    let metrics = PROCESS_METRICS.into_iter().zip(values);
    metrics
        .map(|((name, _), value)| Number {
            name: name.to_owned(),
            labels: String::new(),
            kind: Kind::Gauge,
            value,
        })
        .collect()
}
