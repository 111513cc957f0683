//! Retries.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// `HTTPRetry`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Tries besides the first; 0 switches retries off.
    pub attempts: u32,
    /// Limit of each try; `None`: the route's.
    pub per_try_timeout: Option<Duration>,
    /// Envoy's names of conditions, in the order written.
    pub retry_on: Vec<Arc<str>>,
    /// Status codes that were named among the conditions.
    pub retriable_status_codes: BTreeSet<u16>,
    /// Try other priorities.
    pub retry_remote_localities: bool,
    /// Avoid hosts that were tried.
    pub ignore_previous_hosts: bool,
    /// Base of the exponential wait.
    pub backoff: Duration,
}

impl RetryPolicy {
    /// Base of the wait if none is given: 25 ms.
    pub const DEFAULT_BACKOFF: Duration = Duration::from_millis(25);

    /// What applies to routes that say nothing: two retries if the request surely was not processed.
    /// Source: Istio `retry.DefaultPolicy`.
    pub fn mesh_default() -> Self {
        let conditions = [
            "connect-failure",
            "refused-stream",
            "unavailable",
            "cancelled",
            "retriable-status-codes",
        ];
        Self {
            attempts: 2,
            per_try_timeout: None,
            retry_on: conditions.into_iter().map(Arc::from).collect(),
            retriable_status_codes: BTreeSet::new(),
            retry_remote_localities: false,
            ignore_previous_hosts: true,
            backoff: Self::DEFAULT_BACKOFF,
        }
    }
}
