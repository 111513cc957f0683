//! `meshctl proxy-status`: who is connected, and how far each proxy is with its configuration.

use std::process::ExitCode;

use anyhow::Context;
use serde_json::Value;

use crate::cli::ProxyStatus;
use crate::cluster::Cluster;
use crate::output::{self, Format};

/// Resource types in the order of delivery.
const TYPES: [&str; 4] = ["CDS", "LDS", "EDS", "RDS"];

/// Prints a line for each proxy; exit code 1 if one of them refused something.
///
/// # Errors
/// The control plane cannot be asked.
pub async fn run(args: ProxyStatus) -> anyhow::Result<ExitCode> {
    let cluster = Cluster::open(&args.mesh);
    let text = cluster
        .control_plane("/debug/syncz")
        .await
        .context("the control plane cannot be asked")?;
    let mut proxies: Vec<Value> =
        serde_json::from_str(&text).context("the control plane's answer")?;
    if let Some(pod) = &args.pod {
        proxies.retain(|proxy| {
            text_of(proxy, "proxy").split('.').next() == Some(pod)
                || text_of(proxy, "proxy") == *pod
        });
        anyhow::ensure!(!proxies.is_empty(), "proxy \"{pod}\" is not connected");
    }
    let nacks: Vec<String> = proxies.iter().flat_map(nacks).collect();
    if args.output == Format::Table {
        let mut heading = vec!["name", "cluster", "data plane", "version"];
        heading.extend(TYPES);
        output::table(&heading, proxies.iter().map(row));
        nacks.iter().for_each(output::note);
    } else {
        output::document(args.output, &proxies)?;
    }
    Ok(if nacks.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn row(proxy: &Value) -> Vec<String> {
    let mut row: Vec<String> = ["proxy", "cluster_id", "data_plane", "version"]
        .iter()
        .map(|name| text_of(proxy, name).to_owned())
        .collect();
    row.extend(TYPES.iter().map(|kind| {
        let status = proxy["types"][kind]["status"]
            .as_str()
            .unwrap_or("NOT SENT");
        match proxy["types"][kind]["resources"].as_u64() {
            Some(count) if status == "SYNCED" => format!("{status} ({count})"),
            _ => status.to_owned(),
        }
    }));
    row
}

fn nacks(proxy: &Value) -> Vec<String> {
    let refused = |kind: &&str| {
        let reason = proxy["types"][kind]["nack"].as_str()?;
        Some(format!(
            "{} refused {kind}: {reason}",
            text_of(proxy, "proxy")
        ))
    };
    TYPES.iter().filter_map(refused).collect()
}

fn text_of<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}
