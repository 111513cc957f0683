//! Points Prometheus at the proxy, which serves the application's metrics together with its own.
//!
//! The `prometheus.io/*` annotations move into an environment variable of the proxy and are replaced by the
//! proxy's status port. A pod that forbids scraping is left alone.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::json::{object_mut, string_map};

/// An endpoint that cannot be scraped by the proxy.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("annotation \"prometheus.io/port\": value \"{port}\" {reason}")]
pub struct PrometheusError {
    port: String,
    reason: &'static str,
}

/// The annotations in the spellings that Prometheus' relabelling treats alike.
const KEYS: [(&str, [&str; 2]); 3] = [
    ("scrape", ["prometheus.io/scrape", "prometheus.io.scrape"]),
    ("path", ["prometheus.io/path", "prometheus.io.path"]),
    ("port", ["prometheus.io/port", "prometheus.io.port"]),
];

/// Rewrites the annotations; returns the value for the proxy's environment where there was something.
pub fn merge(pod: &mut Value, status_port: u16) -> Result<Option<String>, PrometheusError> {
    let annotations = string_map(&pod["metadata"]["annotations"]);
    let found = configuration(&annotations);
    if found.get("scrape").is_some_and(is_false) {
        return Ok(None);
    }
    let port = found
        .get("port")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if port == status_port.to_string() {
        // An earlier injection was here, or the user wants exactly this.
        return Ok(None);
    }
    check_port(port)?;
    let target = object_mut(&mut pod["metadata"], "annotations");
    for key in KEYS.iter().flat_map(|(_, keys)| keys) {
        target.remove(*key);
    }
    target.insert("prometheus.io/scrape".into(), "true".into());
    target.insert("prometheus.io/port".into(), status_port.to_string().into());
    target.insert("prometheus.io/path".into(), "/stats/prometheus".into());
    Ok((!found.is_empty()).then(|| Value::Object(found).to_string()))
}

fn configuration(annotations: &BTreeMap<String, String>) -> Map<String, Value> {
    let mut found = Map::new();
    for (field, keys) in KEYS {
        if let Some(value) = keys.iter().find_map(|key| annotations.get(*key)) {
            found.insert(field.to_owned(), json!(value));
        }
    }
    found
}

fn is_false(value: &Value) -> bool {
    matches!(
        value.as_str(),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False")
    )
}

/// The proxy's own ports would make it scrape itself.
fn check_port(port: &str) -> Result<(), PrometheusError> {
    const OWN: [u16; 6] = [15000, 15001, 15006, 15020, 15021, 15090];
    let reason = match port {
        "" => return Ok(()),
        _ => match port.parse::<u16>() {
            Ok(0) | Err(_) => "is not a port",
            Ok(number) if OWN.contains(&number) => "is a port of the proxy",
            Ok(_) => return Ok(()),
        },
    };
    Err(PrometheusError {
        port: port.to_owned(),
        reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(annotations: Value) -> (Value, Result<Option<String>, PrometheusError>) {
        let mut pod = json!({"metadata": {"annotations": annotations}});
        let result = merge(&mut pod, 15020);
        (pod["metadata"]["annotations"].clone(), result)
    }

    fn ours() -> Value {
        json!({
            "prometheus.io/scrape": "true",
            "prometheus.io/port": "15020",
            "prometheus.io/path": "/stats/prometheus",
        })
    }

    #[test]
    fn the_applications_endpoint_moves_into_the_proxys_environment() {
        let (annotations, result) = merged(json!({
            "prometheus.io/scrape": "true",
            "prometheus.io.port": "9080",
            "prometheus.io/path": "/metrics",
        }));
        assert_eq!(annotations, ours());
        let value: Value = serde_json::from_str(&result.unwrap().unwrap()).unwrap();
        assert_eq!(
            value,
            json!({"scrape": "true", "port": "9080", "path": "/metrics"})
        );
    }

    #[test]
    fn a_pod_without_annotations_gets_ours_and_nothing_to_merge() {
        assert_eq!(merged(json!({})), (ours(), Ok(None)));
    }

    #[test]
    fn a_pod_that_forbids_scraping_or_was_injected_before_is_left_alone() {
        let forbidden = json!({"prometheus.io/scrape": "false", "prometheus.io/port": "1"});
        assert_eq!(merged(forbidden.clone()), (forbidden, Ok(None)));
        assert_eq!(merged(ours()), (ours(), Ok(None)));
    }

    #[test]
    fn a_port_of_the_proxy_or_of_nobody_is_an_error() {
        let message = |port: &str| {
            merged(json!({"prometheus.io/port": port}))
                .1
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            message("15090"),
            "annotation \"prometheus.io/port\": value \"15090\" is a port of the proxy"
        );
        assert_eq!(
            message("http"),
            "annotation \"prometheus.io/port\": value \"http\" is not a port"
        );
    }
}
