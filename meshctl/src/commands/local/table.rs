//! The table of pods, and what their proxies say about themselves.

use std::{collections::HashMap, time::Duration};

use futures_util::{StreamExt, stream};
use local::api::PodSummary;
use serde_json::Value;
use tokio::time::timeout;

use crate::{
    cluster::{Cluster, LocalCluster, Pod},
    output::{self, Tone},
};

/// How many proxies are asked at a time.
const ASKED_AT_ONCE: usize = 8;

/// How long a proxy may take to answer; the table does not wait for one that hangs.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// What a proxy says about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ProxyFacts {
    version: String,
    config: String,
    expires: String,
}

/// Facts by namespace and name.
pub(super) type Facts = HashMap<(String, String), ProxyFacts>;

/// Asks the proxies of all pods.
pub(super) async fn facts(cluster: &LocalCluster, pods: &[PodSummary]) -> Facts {
    let proxied = pods
        .iter()
        .filter(|pod| pod.proxied && pod.serving)
        .map(|pod| Pod {
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            proxied: true,
        });
    let ask = async |pod: Pod| {
        let facts = timeout(ANSWER_TIMEOUT, ask(cluster, &pod))
            .await
            .unwrap_or_default();
        ((pod.namespace, pod.name), facts)
    };
    stream::iter(proxied)
        .map(ask)
        .buffer_unordered(ASKED_AT_ONCE)
        .collect()
        .await
}

async fn ask(cluster: &LocalCluster, pod: &Pod) -> ProxyFacts {
    let (info, certs, dump) = tokio::join!(
        cluster.admin(pod, "/server_info"),
        cluster.admin(pod, "/certs"),
        cluster.admin(pod, "/config_dump"),
    );
    ProxyFacts {
        version: info.as_ref().map(version).unwrap_or_default(),
        config: dump.as_ref().map(config_version).unwrap_or_default(),
        expires: certs.as_ref().map(expiry).unwrap_or_default(),
    }
}

/// Envoy's version is `commit/version/state/build/tls`; ours is `weft/version` and where it was built from.
fn version(info: &Value) -> String {
    let text = info["version"].as_str().unwrap_or_default();
    let data_plane = if text.starts_with("weft/") {
        "weft"
    } else {
        "envoy"
    };
    let version = text.split(['/', ' ']).nth(1);
    version.map_or_else(
        || text.to_owned(),
        |version| format!("{data_plane} {version}"),
    )
}

/// The newest version among all resources.
fn config_version(dump: &Value) -> String {
    fn collect(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    match value.as_str() {
                        Some(version) if key == "version_info" && !version.is_empty() => {
                            found.push(version.to_owned())
                        }
                        _ => collect(value, found),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    collect(dump, &mut found);
    let newest = found
        .into_iter()
        .max_by_key(|version| (version.len(), version.clone()))
        .unwrap_or_default();
    newest.chars().take(19).collect()
}

/// When the first certificate of a workload ends.
fn expiry(certs: &Value) -> String {
    let certificates = certs["certificates"].as_array();
    let chains = certificates
        .into_iter()
        .flatten()
        .filter_map(|entry| entry["cert_chain"].as_array())
        .flatten();
    let times = chains.filter_map(|certificate| certificate["expiration_time"].as_str());
    times
        .min()
        .unwrap_or_default()
        .trim_end_matches('Z')
        .replace('T', " ")
}

/// The table that `get pods` prints.
pub(super) fn pods(pods: &[PodSummary]) -> String {
    let row = |pod: &PodSummary| {
        vec![
            pod.namespace.clone(),
            pod.name.clone(),
            ready(pod),
            pod.status.clone(),
            pod.restarts.to_string(),
            age(pod.age_seconds),
            pod.address.clone().unwrap_or_default(),
        ]
    };
    output::table(
        &[
            "NAMESPACE",
            "NAME",
            "READY",
            "STATUS",
            "RESTARTS",
            "AGE",
            "IP",
        ],
        pods.iter().map(row).collect(),
    )
}

/// Why pods do not serve, one line each.
pub(super) fn reasons(pods: &[PodSummary]) -> Vec<String> {
    let waiting = pods.iter().filter(|pod| !pod.serving);
    let reason = |pod: &PodSummary| {
        Some(format!(
            "{}/{}: {}",
            pod.namespace,
            pod.name,
            pod.message.as_ref()?
        ))
    };
    waiting
        .filter_map(reason)
        .map(|text| output::tone(Tone::Faint, &text))
        .collect()
}

/// The table that `up` keeps on the screen.
pub(super) fn live(pods: &[PodSummary], facts: &Facts) -> String {
    let none = ProxyFacts::default();
    let row = |pod: &PodSummary| {
        let facts = facts
            .get(&(pod.namespace.clone(), pod.name.clone()))
            .unwrap_or(&none);
        vec![
            pod.namespace.clone(),
            pod.name.clone(),
            ready(pod),
            pod.status.clone(),
            facts.version.clone(),
            facts.config.clone(),
            facts.expires.clone(),
        ]
    };
    let header = [
        "NAMESPACE",
        "POD",
        "READY",
        "STATUS",
        "PROXY",
        "CONFIG",
        "CERTIFICATE UNTIL",
    ];
    let text = output::table(&header, pods.iter().map(row).collect());
    // Colour goes by line: within cells it would disturb their width.
    let toned =
        |(index, line): (usize, &str)| match index.checked_sub(1).and_then(|index| pods.get(index))
        {
            None => output::tone(Tone::Faint, line),
            Some(pod) if pod.serving => line.to_owned(),
            Some(pod) if ["Failed", "CrashLoopBackOff"].contains(&pod.status.as_str()) => {
                output::tone(Tone::Bad, line)
            }
            Some(_) => output::tone(Tone::Doubtful, line),
        };
    text.lines()
        .enumerate()
        .map(toned)
        .collect::<Vec<_>>()
        .join("\n")
}

fn ready(pod: &PodSummary) -> String {
    format!("{}/{}", pod.ready.0, pod.ready.1)
}

fn age(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        _ => format!("{}h", seconds / 3600),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn facts_are_read_from_the_admin_pages() {
        assert_eq!(
            version(&json!({"version": "abc/1.40.0/Clean/RELEASE/BoringSSL"})),
            "envoy 1.40.0"
        );
        assert_eq!(
            version(&json!({"version": "weft/0.1.0 (1aa9f38)"})),
            "weft 0.1.0"
        );
        let dump = json!({"configs": [{"version_info": "9", "dynamic_listeners": [{"active_state": {"version_info": "12"}}]}]});
        assert_eq!(config_version(&dump), "12");
        let certs = json!({"certificates": [{"cert_chain": [{"expiration_time": "2026-11-22T05:00:00Z"}]}, {"ca_cert": []}]});
        assert_eq!(expiry(&certs), "2026-11-22 05:00:00");
    }
}
