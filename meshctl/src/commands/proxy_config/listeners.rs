//! Listeners: a line for each filter chain.

use serde_json::Value;

use super::dump::{address, items, joined, text};

pub(super) const HEADING: [&str; 4] = ["address", "name", "match", "destination"];

/// The chains of a listener.
pub(super) fn rows(listener: &Value) -> Vec<Vec<String>> {
    let default = listener
        .get("default_filter_chain")
        .into_iter()
        .map(|chain| (chain, "otherwise".to_owned()));
    let chains = items(&listener["filter_chains"])
        .map(|chain| (chain, matches(&chain["filter_chain_match"])));
    let row = |(chain, matches): (&Value, String)| {
        vec![
            address(&listener["address"]),
            text(listener, "name"),
            matches,
            destination(chain),
        ]
    };
    chains.chain(default).map(row).collect()
}

fn matches(chain: &Value) -> String {
    let list = |name: &str, field: &str| {
        let values = items(&chain[field])
            .filter_map(Value::as_str)
            .map(str::to_owned);
        let text = joined(values, "");
        (!text.is_empty()).then(|| format!("{name} {text}"))
    };
    let ranges = items(&chain["prefix_ranges"]).map(|range| {
        let length = range["prefix_len"].as_u64().unwrap_or_default();
        format!("{}/{length}", text(range, "address_prefix"))
    });
    let ranges = joined(ranges, "");
    let parts = [
        chain["destination_port"]
            .as_u64()
            .map(|port| format!("port {port}")),
        (!ranges.is_empty()).then(|| format!("address {ranges}")),
        chain["transport_protocol"]
            .as_str()
            .map(|transport| format!("transport {transport}")),
        list("ALPN", "application_protocols"),
        list("SNI", "server_names"),
    ];
    let text = parts.into_iter().flatten().collect::<Vec<_>>().join("; ");
    if text.is_empty() {
        "all".to_owned()
    } else {
        text
    }
}

/// Where the last filter sends a connection.
fn destination(chain: &Value) -> String {
    let Some(config) = items(&chain["filters"])
        .last()
        .map(|filter| &filter["typed_config"])
    else {
        return "closed".to_owned();
    };
    if let Some(route) = config["rds"]["route_config_name"].as_str() {
        return format!("route {route}");
    }
    if let Some(cluster) = config["cluster"].as_str() {
        return format!("cluster {cluster}");
    }
    let weighted = items(&config["weighted_clusters"]["clusters"]);
    let weighted = joined(
        weighted.map(|one| format!("{} ({})", text(one, "name"), one["weight"])),
        "",
    );
    if !weighted.is_empty() {
        return format!("clusters {weighted}");
    }
    let hosts = items(&config["route_config"]["virtual_hosts"]);
    let clusters = hosts
        .flat_map(|host| items(&host["routes"]))
        .filter_map(|route| route["route"]["cluster"].as_str().map(str::to_owned));
    format!("inline route to {}", joined(clusters, "no cluster"))
}
