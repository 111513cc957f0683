//! `http[].retries`. Also the mesh's default policy. Source: Istio `retry.ConvertPolicy`.

use std::collections::BTreeSet;
use std::sync::Arc;

use mesh_api::route::retry::RetryPolicy;

use crate::decode::jsonpb::GoDuration;
use crate::decode::suggest::did_you_mean;
use crate::kinds::findings::Findings;
use crate::kinds::rules;
use crate::kinds::wire::wire;
use crate::manifest::path::FieldPath;

/// Envoy's names of retry conditions, HTTP's and gRPC's.
const CONDITIONS: [&str; 16] = [
    "5xx",
    "gateway-error",
    "reset",
    "reset-before-request",
    "connect-failure",
    "envoy-ratelimited",
    "retriable-4xx",
    "refused-stream",
    BY_CODE,
    "retriable-headers",
    "http3-post-connect-failure",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
];

/// The condition that status codes stand for.
const BY_CODE: &str = "retriable-status-codes";

wire! {
    WireRetry {
        /// Maximum number of retries of a request. 0 (default) disables retries, and excludes the other fields.
        attempts: i32,
        /// Timeout of each attempt, the first one included, at least 1ms. By default the timeout of the route.
        per_try_timeout: Option<GoDuration>,
        /// Conditions of a retry, separated by commas: Envoy's names, and status codes. By default connect-failure,
        /// refused-stream, unavailable, cancelled and retriable-status-codes.
        retry_on: String,
        /// True to retry in other localities, too. False by default.
        retry_remote_localities: Option<bool>,
        /// True (default) to prefer endpoints that were not tried before.
        retry_ignore_previous_hosts: Option<bool>,
        /// Base interval of the exponential back-off between attempts, at least 1ms. 25ms by default.
        backoff: Option<GoDuration>,
    }
}

pub(in crate::kinds) fn read(
    wire: &WireRetry,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> RetryPolicy {
    let attempts = attempts(wire, &path.field("attempts"), findings);
    let timeout = path.field("perTryTimeout");
    rules::duration(wire.per_try_timeout, &timeout, findings);
    rules::duration(wire.backoff, &path.field("backoff"), findings);
    let (retry_on, codes) = conditions(&wire.retry_on, &path.field("retryOn"), findings);
    RetryPolicy {
        attempts,
        per_try_timeout: wire.per_try_timeout.map(|timeout| timeout.0),
        retry_on,
        retriable_status_codes: codes,
        retry_remote_localities: wire.retry_remote_localities.unwrap_or(false),
        ignore_previous_hosts: wire.retry_ignore_previous_hosts.unwrap_or(true),
        backoff: wire
            .backoff
            .map_or(RetryPolicy::DEFAULT_BACKOFF, |backoff| backoff.0),
    }
}

fn attempts(wire: &WireRetry, path: &FieldPath<'_>, findings: &mut Findings<'_>) -> u32 {
    if wire.attempts < 0 {
        let message = format!("{} attempts are fewer than none", wire.attempts);
        findings.error(path, message);
    }
    let others = wire.per_try_timeout.is_some()
        || !wire.retry_on.is_empty()
        || wire.retry_remote_localities.is_some()
        || wire.backoff.is_some();
    if wire.attempts == 0 && others {
        findings
            .error(
                path,
                "0 attempts switch retries off, yet the policy says more",
            )
            .suggest("set attempts, or leave the other fields out");
    }
    u32::try_from(wire.attempts).unwrap_or(0)
}

/// The conditions, and the status codes among them. The mesh's default if there is neither.
fn conditions(
    text: &str,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> (Vec<Arc<str>>, BTreeSet<u16>) {
    let mut conditions: Vec<Arc<str>> = Vec::new();
    let mut codes = BTreeSet::new();
    let written = text.split(',').map(str::trim).filter(|c| !c.is_empty());
    for condition in written {
        let code = condition.parse::<u16>().ok();
        match code.filter(|code| (100..=599).contains(code)) {
            Some(code) => {
                codes.insert(code);
            }
            None if CONDITIONS.contains(&condition) => conditions.push(condition.into()),
            None => {
                let known = || format!("known: {}, or a status code", CONDITIONS.join(", "));
                findings
                    .error(path, format!("\"{condition}\" is not a retry condition"))
                    .suggest_with(|| {
                        did_you_mean(condition, &CONDITIONS).or_else(|| Some(known()))
                    });
            }
        }
    }
    if conditions.is_empty() && codes.is_empty() {
        conditions = RetryPolicy::mesh_default().retry_on;
    }
    if !codes.is_empty() && !conditions.iter().any(|name| &**name == BY_CODE) {
        conditions.push(BY_CODE.into());
    }
    (conditions, codes)
}
