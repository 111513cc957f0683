//! `/clusters`: clusters and their endpoints, as Envoy prints them.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Admin;
use crate::config::Config;
use crate::config::cluster::Cluster;
use crate::config::endpoint::{Endpoint, Health};

#[derive(Deserialize)]
pub(super) struct Parameters {
    format: Option<String>,
}

pub(super) async fn clusters(
    State(admin): State<Admin>,
    Query(parameters): Query<Parameters>,
) -> Response {
    let config = admin.config.load();
    let clusters = config.clusters.iter().flatten();
    if parameters.format.as_deref() == Some("json") {
        let statuses: Vec<Value> = clusters.map(|cluster| status(&config, cluster)).collect();
        return Json(json!({ "cluster_statuses": statuses })).into_response();
    }
    let mut text = String::new();
    for cluster in clusters {
        write(&mut text, &config, cluster);
    }
    text.into_response()
}

/// Endpoints with their priorities.
fn endpoints<'a>(
    config: &'a Config,
    cluster: &Cluster,
) -> impl Iterator<Item = (usize, &'a Arc<Endpoint>)> {
    let priorities = config.endpoints(cluster.id).map(|all| &all.priorities);
    priorities
        .into_iter()
        .flatten()
        .enumerate()
        .flat_map(|(priority, localities)| {
            let endpoints = localities.iter().flat_map(|locality| &locality.endpoints);
            endpoints.map(move |endpoint| (priority, endpoint))
        })
}

// Writing to a String cannot fail.
fn write(text: &mut String, config: &Config, cluster: &Cluster) {
    let name = &cluster.name;
    let _ = writeln!(text, "{name}::observability_name::{}", cluster.stat_name);
    let _ = writeln!(
        text,
        "{name}::added_via_api::{}",
        &*cluster.source.version != "static"
    );
    for (priority, endpoint) in endpoints(config, cluster) {
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

fn health_flags(endpoint: &Endpoint) -> String {
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

fn status(config: &Config, cluster: &Cluster) -> Value {
    let hosts: Vec<Value> = endpoints(config, cluster)
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
