//! `meshctl proxy-status`: who is connected, and how far each proxy is with its configuration.

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use serde_json::Value;

use crate::{
    cluster::{Access, Cluster},
    output::{self, Format},
};

/// Resource types in the order of delivery.
const TYPES: [&str; 4] = ["CDS", "LDS", "EDS", "RDS"];

/// Arguments of `proxy-status`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only this proxy: POD or POD.NAMESPACE
    pod: Option<String>,
    /// Form of the answer
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    access: Access,
}

/// Prints a line for each proxy; exit code 1 if one of them refused something.
pub async fn run(args: &Args) -> Result<ExitCode> {
    let cluster = args.access.open().await?;
    let answers = cluster
        .control_plane("/debug/syncz")
        .await
        .context("the control plane cannot be asked")?;
    let mut proxies = merge(&answers)?;
    if let Some(pod) = &args.pod {
        proxies.retain(|proxy| {
            text_of(proxy, "proxy").split('.').next() == Some(pod)
                || text_of(proxy, "proxy") == *pod
        });
        ensure!(!proxies.is_empty(), "proxy \"{pod}\" is not connected");
    }
    let nacks: Vec<String> = proxies.iter().flat_map(nacks).collect();
    if args.output == Format::Table {
        let mut heading = vec!["NAME", "CLUSTER", "DATA PLANE", "VERSION"];
        heading.extend(TYPES);
        output::line(&output::table(&heading, proxies.iter().map(row).collect()))?;
        nacks.iter().for_each(|nack| output::note(nack));
    } else {
        output::structured(args.output, &proxies)?;
    }
    Ok(if nacks.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Each replica knows the proxies that are connected to it.
fn merge(answers: &[Bytes]) -> Result<Vec<Value>> {
    let mut proxies = Vec::new();
    for answer in answers {
        let some: Vec<Value> =
            serde_json::from_slice(answer).context("the control plane's answer")?;
        proxies.extend(some);
    }
    proxies.sort_by(|one, other| text_of(one, "proxy").cmp(text_of(other, "proxy")));
    Ok(proxies)
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
