//! `/clusters`: clusters and their endpoints, as Envoy prints them.

use std::fmt::Write as _;

use axum::Json;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Admin;
use crate::config::cluster::Cluster;
use crate::config::endpoint::{Health, Locality};
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

/// Endpoints with their priorities and localities.
fn endpoints<'a>(
    runtime: &'a Runtime,
    cluster: &Cluster,
) -> impl Iterator<Item = (usize, &'a Locality, &'a SharedEndpoint)> {
    let all = runtime.endpoints(cluster.id).into_iter();
    all.flat_map(|all| {
        let places = all.config.endpoints();
        let places = places.map(|(priority, place, _)| (priority, &place.locality));
        let endpoints = places.zip(&all.endpoints);
        endpoints.map(|((priority, locality), endpoint)| (priority, locality, endpoint))
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
    for (priority, locality, endpoint) in endpoints(runtime, cluster) {
        let address = endpoint.address;
        let _ = writeln!(text, "{name}::{address}::hostname::{}", endpoint.hostname);
        let _ = writeln!(
            text,
            "{name}::{address}::health_flags::{}",
            health_flags(endpoint)
        );
        let _ = writeln!(text, "{name}::{address}::weight::{}", endpoint.weight);
        let _ = writeln!(text, "{name}::{address}::region::{}", locality.region);
        let _ = writeln!(text, "{name}::{address}::zone::{}", locality.zone);
        let _ = writeln!(text, "{name}::{address}::sub_zone::{}", locality.sub_zone);
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
        .map(|(priority, locality, endpoint)| {
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
                "locality": {
                    "region": &*locality.region,
                    "zone": &*locality.zone,
                    "sub_zone": &*locality.sub_zone,
                },
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proxy_xds::eds::{self, Addresses};
    use proxy_xds::test_util::{lb_endpoint, locality, static_cluster, translate};

    use super::*;
    use crate::config::secret::ResourceSource;
    use crate::upstream::shared::SharedAssignment;

    #[test]
    fn endpoints_are_shown_with_priority_and_locality() {
        let mut place = locality(1, 1, vec![lb_endpoint("10.0.0.1", 80, 3)]);
        place.locality = Some(xds::envoy::core::Locality {
            region: "r".into(),
            zone: "z".into(),
            sub_zone: "s".into(),
        });
        let cluster = translate(&static_cluster()).unwrap();
        let assignment = xds::envoy::endpoint::ClusterLoadAssignment {
            endpoints: vec![place],
            ..Default::default()
        };
        let source = ResourceSource::default();
        let assignment =
            eds::load_assignment(&assignment, cluster.id, Addresses::None, None, source);
        let shared = SharedAssignment::new(Arc::new(assignment.unwrap()), None);
        let runtime = Runtime {
            endpoints: vec![Some(Arc::new(shared))],
            ..Runtime::default()
        };
        let mut text = String::new();
        write(&mut text, &runtime, &cluster);
        let lines: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(
            lines,
            [
                "c::10.0.0.1:80::hostname::",
                "c::10.0.0.1:80::health_flags::healthy",
                "c::10.0.0.1:80::weight::3",
                "c::10.0.0.1:80::region::r",
                "c::10.0.0.1:80::zone::z",
                "c::10.0.0.1:80::sub_zone::s",
                "c::10.0.0.1:80::priority::1",
            ]
        );
        let shown = &status(&runtime, &cluster)["host_statuses"][0]["locality"];
        assert_eq!(*shown, json!({"region": "r", "zone": "z", "sub_zone": "s"}));
    }
}
