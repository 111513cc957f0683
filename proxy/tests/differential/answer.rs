//! What a contender answered, and how two answers differ.

use std::collections::BTreeMap;

/// One answer as far as it is compared.
#[derive(Debug, Default)]
pub struct Answer {
    /// The status; `None` if the connection ended without an answer.
    pub status: Option<u16>,
    /// Header names in lower case with their values in order.
    pub headers: BTreeMap<String, Vec<String>>,
    /// The body, trailers behind it.
    pub body: String,
    /// The access log line.
    pub log: Option<serde_json::Value>,
}

/// Headers whose values are times or random: only their presence is compared.
const VOLATILE: &[&str] = &["date", "x-envoy-upstream-service-time", "x-request-id"];

impl Answer {
    /// One line for each difference; empty if there is none.
    pub fn differences(&self, ours: &Self) -> Vec<String> {
        let mut found = Vec::new();
        let mut compare = |what: &str, theirs: String, ours: String| {
            if theirs != ours {
                found.push(format!("  {what}: Envoy {theirs}\n  {what}: ours  {ours}"));
            }
        };
        compare(
            "status",
            format!("{:?}", self.status),
            format!("{:?}", ours.status),
        );
        let names: std::collections::BTreeSet<_> =
            self.headers.keys().chain(ours.headers.keys()).collect();
        for name in names {
            compare(
                &format!("header {name}"),
                header(self, name),
                header(ours, name),
            );
        }
        compare("body", steady(&self.body), steady(&ours.body));
        compare("log", format!("{:?}", self.log), format!("{:?}", ours.log));
        found
    }
}

fn header(answer: &Answer, name: &str) -> String {
    match answer.headers.get(name) {
        Some(values) if VOLATILE.contains(&name) => format!("{} value(s)", values.len()),
        other => format!("{other:?}"),
    }
}

/// The body without what is random in it: the request id that the upstream saw, and the milliseconds that
/// were left to a retry.
fn steady(body: &str) -> String {
    let line = |line: &str| match line.split_once(": ") {
        Some(("x-request-id", value)) if value.len() == 36 => "x-request-id: (made)".to_owned(),
        Some(("x-envoy-expected-rq-timeout-ms", value)) => {
            let rounded = value.parse::<f64>().map(|ms| (ms / 100.0).round() * 100.0);
            format!("x-envoy-expected-rq-timeout-ms: about {rounded:?}")
        }
        _ => line.to_owned(),
    };
    format!(
        "{:?}",
        body.split('\n').map(line).collect::<Vec<_>>().join("\n")
    )
}
