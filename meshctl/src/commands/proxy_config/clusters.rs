//! Clusters: a line each, Istio's names taken apart.

use serde_json::Value;

use super::dump::text;

pub(super) const HEADING: [&str; 5] = ["service", "port", "subset", "direction", "type"];

/// One cluster. `outbound|9080|v1|reviews.default.svc.cluster.local` says direction, port, subset and service.
pub(super) fn row(cluster: &Value) -> Vec<String> {
    let name = text(cluster, "name");
    let kind = cluster["type"]
        .as_str()
        .or_else(|| cluster["cluster_type"]["name"].as_str())
        .unwrap_or("STATIC");
    let parts: Vec<&str> = name.split('|').collect();
    let or_dash = |part: &str| {
        if part.is_empty() {
            "-".to_owned()
        } else {
            part.to_owned()
        }
    };
    match parts.as_slice() {
        [direction, port, subset, service] => {
            vec![
                or_dash(service),
                or_dash(port),
                or_dash(subset),
                or_dash(direction),
                kind.to_owned(),
            ]
        }
        _ => vec![name, "-".into(), "-".into(), "-".into(), kind.to_owned()],
    }
}
