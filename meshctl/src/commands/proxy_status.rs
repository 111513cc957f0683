//! `meshctl proxy-status`: who is connected, how far each proxy is with its configuration, and who was turned away.

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use serde_json::Value;

use crate::{
    cluster::{Access, AnyCluster, Cluster},
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

/// Prints a line for each proxy; exit code 1 if one of them refused something or was refused.
pub async fn run(args: &Args) -> Result<ExitCode> {
    let cluster = args.access.open().await?;
    let mut proxies = ask(&cluster, "/debug/syncz").await?;
    let mut refused = ask(&cluster, "/debug/refusedz").await?;
    if let Some(pod) = &args.pod {
        proxies.retain(|proxy| is_named(proxy, pod));
        refused.retain(|caller| is_named(caller, pod));
        ensure!(
            !proxies.is_empty() || !refused.is_empty(),
            "proxy \"{pod}\" is not connected"
        );
    }
    let nacks = proxies.iter().flat_map(nacks);
    let notes: Vec<String> = nacks.chain(refused.iter().map(refusal)).collect();
    if args.output == Format::Table {
        let mut heading = vec!["NAME", "CLUSTER", "DATA PLANE", "VERSION"];
        heading.extend(TYPES);
        output::line(&output::table(&heading, proxies.iter().map(row).collect()))?;
        notes.iter().for_each(|note| output::note(note));
        let warnings = proxies.iter().flat_map(warnings);
        warnings.for_each(|warning| output::note(&warning));
    } else {
        proxies.extend(refused);
        output::structured(args.output, &proxies)?;
    }
    Ok(if notes.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What all replicas say on a page.
async fn ask(cluster: &AnyCluster, page: &str) -> Result<Vec<Value>> {
    let answers = cluster.control_plane(page).await;
    merge(&answers.context("the control plane cannot be asked")?)
}

fn is_named(proxy: &Value, pod: &str) -> bool {
    let name = text_of(proxy, "proxy");
    name == pod || name.split('.').next() == Some(pod)
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

/// What the proxy lacks although it works.
fn warnings(proxy: &Value) -> impl Iterator<Item = String> {
    let texts = proxy["warnings"].as_array().into_iter().flatten();
    let texts = texts.filter_map(Value::as_str);
    texts.map(|text| format!("{}: {text}", text_of(proxy, "proxy")))
}

fn refusal(caller: &Value) -> String {
    let text = |name| text_of(caller, name);
    let times = caller["times"].as_u64().unwrap_or_default();
    format!(
        "{} was refused: {} ({times} times in a row, last at {})",
        text("proxy"),
        text("reason"),
        text("last_at"),
    )
}

fn text_of<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_proxy_may_not_read_is_named() {
        let proxy = json!({"proxy": "gateway-1.edge", "warnings": ["may not list Secrets"]});
        let all: Vec<String> = warnings(&proxy).collect();
        assert_eq!(all, ["gateway-1.edge: may not list Secrets"]);
        assert_eq!(warnings(&json!({"proxy": "a.b"})).count(), 0);
    }

    #[test]
    fn a_proxy_that_was_turned_away_is_named_with_the_reason() {
        let caller = json!({
            "proxy": "details-v1.default",
            "ip": "10.0.0.7",
            "reason": "the token has expired",
            "times": 3,
            "last_at": "2026-01-01T00:00:00Z",
        });
        assert_eq!(
            refusal(&caller),
            "details-v1.default was refused: the token has expired \
             (3 times in a row, last at 2026-01-01T00:00:00Z)"
        );
        assert!(is_named(&caller, "details-v1") && is_named(&caller, "details-v1.default"));
        assert!(!is_named(&caller, "details"));
    }
}
