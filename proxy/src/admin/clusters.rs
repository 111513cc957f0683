//! `/clusters`: clusters and their endpoints, as Envoy prints them.

use std::fmt::Write as _;

use axum::Json;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Admin;
use crate::config::cluster::Cluster;
use crate::config::endpoint::Health;
use crate::upstream::runtime::Runtime;
use crate::upstream::shared::SharedEndpoint;

#[derive(Deserialize)]
pub(super) struct Parameters {
    format: Option<String>,
}

pub(super) async fn clusters(
    State(admin): State<Admin>,
    Query(parameters): Query<Parameters>,
) -> Response {
    let runtime = admin.in_force.runtime.load();
    let clusters = runtime.clusters.iter().flatten();
    if parameters.format.as_deref() == Some("json") {
        let statuses: Vec<Value> = clusters.map(|cluster| status(&runtime, cluster)).collect();
        return Json(json!({ "cluster_statuses": statuses })).into_response();
    }
    let mut text = String::new();
    for cluster in clusters {
        write(&mut text, &runtime, cluster);
    }
    text.into_response()
}

/// Endpoints with their priorities.
fn endpoints<'a>(
    runtime: &'a Runtime,
    cluster: &Cluster,
) -> impl Iterator<Item = (usize, &'a SharedEndpoint)> {
    let all = runtime.endpoints(cluster.id).into_iter();
    all.flat_map(|all| {
        let priorities = all.config.endpoints().map(|(priority, _, _)| priority);
        priorities.zip(&all.endpoints)
    })
}

// Writing to a String cannot fail.
fn write(text: &mut String, runtime: &Runtime, cluster: &Cluster) {
    let name = &cluster.name;
    let _ = writeln!(text, "{name}::observability_name::{}", cluster.stat_name);
    let _ = writeln!(
        text,
        "{name}::added_via_api::{}",
        &*cluster.source.version != "static"
    );
    for (priority, endpoint) in endpoints(runtime, cluster) {
        let address = endpoint.address;
        let _ = writeln!(text, "{name}::{address}::hostname::{}", endpoint.hostname);
        let _ = writeln!(
            text,
            "{name}::{address}::health_flags::{}",
            health_flags(endpoint)
        );
        let _ = writeln!(text, "{name}::{address}::weight::{}", endpoint.weight);
        let _ = writeln!(text, "{name}::{address}::priority::{priority}");
    }
}

fn health_flags(endpoint: &SharedEndpoint) -> String {
    let mut flags = Vec::new();
    if endpoint.monitor.ejected() {
        flags.push("/failed_outlier_check");
    }
    match endpoint.health {
        Health::Healthy => {}
        Health::Degraded => flags.push("/degraded_eds_health"),
        Health::Unhealthy => flags.push("/failed_eds_health"),
        Health::Draining => flags.push("/eds_status_draining"),
    }
    match flags.is_empty() {
        true => "healthy".to_owned(),
        false => flags.concat(),
    }
}

fn status(runtime: &Runtime, cluster: &Cluster) -> Value {
    let hosts: Vec<Value> = endpoints(runtime, cluster)
        .map(|(priority, endpoint)| {
            json!({
                "address": {"socket_address": {
                    "address": endpoint.address.ip().to_string(),
                    "port_value": endpoint.address.port(),
                }},
                "hostname": &*endpoint.hostname,
                "health_status": {
                    "eds_health_status": eds_health(endpoint.health),
                    "failed_outlier_check": endpoint.monitor.ejected(),
                },
                "weight": endpoint.weight,
                "priority": priority,
            })
        })
        .collect();
    json!({
        "name": &*cluster.name,
        "observability_name": &*cluster.stat_name,
        "added_via_api": &*cluster.source.version != "static",
        "host_statuses": hosts,
    })
}

fn eds_health(health: Health) -> &'static str {
    match health {
        Health::Healthy => "HEALTHY",
        Health::Degraded => "DEGRADED",
        Health::Unhealthy => "UNHEALTHY",
        Health::Draining => "DRAINING",
    }
}
