//! Routes: a line for each route of each virtual host.

use serde_json::Value;

use super::dump::{items, joined, text};

pub(super) const HEADING: [&str; 5] = ["name", "virtual host", "domains", "match", "destination"];

/// Domains that are shown of a virtual host.
const DOMAINS_SHOWN: usize = 2;

/// The routes of a route configuration.
pub(super) fn rows(config: &Value) -> Vec<Vec<String>> {
    let hosts = items(&config["virtual_hosts"]);
    hosts
        .flat_map(|host| items(&host["routes"]).map(|route| row(config, host, route)))
        .collect()
}

fn row(config: &Value, host: &Value, route: &Value) -> Vec<String> {
    vec![
        text(config, "name"),
        text(host, "name"),
        domains(&host["domains"]),
        matches(&route["match"]),
        destination(route),
    ]
}

fn domains(domains: &Value) -> String {
    let all: Vec<_> = items(domains).filter_map(Value::as_str).collect();
    match all.len().checked_sub(DOMAINS_SHOWN) {
        Some(more) if more > 0 => format!("{}, {more} more", all[..DOMAINS_SHOWN].join(", ")),
        _ => all.join(", "),
    }
}

fn matches(matches: &Value) -> String {
    let path = [
        ("prefix", "*"),
        ("path", ""),
        ("path_separated_prefix", "/*"),
    ]
    .iter()
    .find_map(|(field, suffix)| Some(format!("{}{suffix}", matches[field].as_str()?)))
    .or_else(|| {
        Some(format!(
            "regex {}",
            matches["safe_regex"]["regex"].as_str()?
        ))
    })
    .unwrap_or_else(|| "*".to_owned());
    let conditions = |field: &str, mark: &str| {
        joined(items(&matches[field]).map(|one| text(one, "name")), "")
            .split(',')
            .filter(|n| !n.is_empty())
            .map(|n| format!(" {mark}{n}"))
            .collect::<String>()
    };
    format!(
        "{path}{}{}",
        conditions("headers", "header "),
        conditions("query_parameters", "query ")
    )
}

fn destination(route: &Value) -> String {
    if let Some(status) = route["direct_response"]["status"].as_u64() {
        return format!("answer {status}");
    }
    if route.get("redirect").is_some() {
        return "redirect".to_owned();
    }
    let action = &route["route"];
    if let Some(cluster) = action["cluster"].as_str() {
        return cluster.to_owned();
    }
    let weighted = items(&action["weighted_clusters"]["clusters"]);
    joined(
        weighted.map(|one| format!("{} ({})", text(one, "name"), one["weight"])),
        "-",
    )
}
