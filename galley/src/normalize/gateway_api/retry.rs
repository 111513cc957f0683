//! `retry` and `timeouts.backendRequest`. Source: Istio `convertHTTPRoute`.

use std::collections::BTreeSet;
use std::time::Duration;

use mesh_api::route::retry::RetryPolicy;

use crate::crd::gateway_api as wire;
use crate::manifest::path::FieldPath;
use crate::normalize::{Fault, Scope};

/// Failures of connections are tried again in any case, answers by their codes.
pub(super) fn retry(
    wire: &wire::Retry,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
) -> Result<RetryPolicy, Fault> {
    let list = path.field("codes");
    let code = |(index, number): (usize, &u32)| {
        let code = u16::try_from(*number).ok();
        let code = code.filter(|code| (400..600).contains(code));
        let message = format!("{number} is not a status between 400 and 599");
        code.ok_or_else(|| scope.fault(&list.index(index), message))
    };
    let codes = wire.codes.iter().enumerate();
    let codes: BTreeSet<u16> = codes.map(code).collect::<Result<_, _>>()?;
    let default = RetryPolicy::mesh_default();
    let mut conditions = default.retry_on.clone();
    conditions.retain(|name| !codes.is_empty() || &**name != "retriable-status-codes");
    let backoff = wire.backoff.map(|backoff| backoff.0);
    Ok(RetryPolicy {
        attempts: wire.attempts.unwrap_or(default.attempts),
        retry_on: conditions,
        retriable_status_codes: codes,
        backoff: backoff.unwrap_or(default.backoff),
        ..default
    })
}

/// The policy with the limit of each try.
pub(super) fn limited(policy: Option<RetryPolicy>, limit: Option<Duration>) -> Option<RetryPolicy> {
    match (policy, limit) {
        (policy, None) => policy,
        (policy, limit) => Some(RetryPolicy {
            per_try_timeout: limit,
            ..policy.unwrap_or_else(RetryPolicy::mesh_default)
        }),
    }
}
