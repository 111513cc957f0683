//! `retry` and `timeouts`. Source: Istio `convertHTTPRoute`.

use std::time::Duration;

use mesh_api::route::retry::RetryPolicy;

use crate::decode::jsonpb::GoDuration;
use crate::kinds::findings::Findings;
use crate::kinds::rules::each;
use crate::kinds::wire::wire;
use crate::manifest::path::FieldPath;

wire! {
    WireTimeouts {
        request: Option<GoDuration>,
        backend_request: Option<GoDuration>,
    }

    WireRetry {
        codes: Vec<u32>,
        attempts: Option<u32>,
        backoff: Option<GoDuration>,
    }
}

/// Failures of connections are retried in any case, responses by their codes.
pub(super) fn read(
    wire: &WireRetry,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<RetryPolicy> {
    let codes = each(
        &wire.codes,
        &path.field("codes"),
        findings,
        |number, at, findings| {
            let code = u16::try_from(*number).ok();
            let code = code.filter(|code| (400..600).contains(code));
            if code.is_none() {
                let message = format!("{number} is not a status between 400 and 599");
                findings.error(at, message);
            }
            code
        },
    )?;
    let default = RetryPolicy::mesh_default();
    let mut conditions = default.retry_on.clone();
    conditions.retain(|name| !codes.is_empty() || &**name != "retriable-status-codes");
    let backoff = wire.backoff.map(|backoff| backoff.0);
    Some(RetryPolicy {
        attempts: wire.attempts.unwrap_or(default.attempts),
        retry_on: conditions,
        retriable_status_codes: codes.into_iter().collect(),
        backoff: backoff.unwrap_or(default.backoff),
        ..default
    })
}

/// The policy with the timeout of each attempt.
pub(super) fn limited(policy: Option<RetryPolicy>, limit: Option<Duration>) -> Option<RetryPolicy> {
    match (policy, limit) {
        (policy, None) => policy,
        (policy, limit) => Some(RetryPolicy {
            per_try_timeout: limit,
            ..policy.unwrap_or_else(RetryPolicy::mesh_default)
        }),
    }
}
