//! Endpoints: a line each.

use serde_json::Value;

use super::dump::{address, items, text};

pub(super) const HEADING: [&str; 5] = ["endpoint", "status", "weight", "locality", "cluster"];

/// The endpoints of a cluster.
pub(super) fn rows(assignment: &Value) -> Vec<Vec<String>> {
    let cluster = text(assignment, "cluster_name");
    let localities = items(&assignment["endpoints"]);
    localities
        .flat_map(|locality| {
            let place = place(&locality["locality"]);
            let cluster = cluster.clone();
            items(&locality["lb_endpoints"]).map(move |endpoint| row(endpoint, &place, &cluster))
        })
        .collect()
}

fn row(endpoint: &Value, place: &str, cluster: &str) -> Vec<String> {
    let status = endpoint["health_status"].as_str().unwrap_or("HEALTHY");
    let weight = endpoint["load_balancing_weight"].as_u64().unwrap_or(1);
    let status = if status == "UNKNOWN" {
        "HEALTHY"
    } else {
        status
    };
    vec![
        address(&endpoint["endpoint"]["address"]),
        status.to_owned(),
        weight.to_string(),
        place.to_owned(),
        cluster.to_owned(),
    ]
}

fn place(locality: &Value) -> String {
    let parts = ["region", "zone", "sub_zone"].map(|part| text(locality, part));
    let known: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    if known.is_empty() {
        "-".to_owned()
    } else {
        known.join("/")
    }
}
