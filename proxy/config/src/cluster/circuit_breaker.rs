//! Limits of a cluster (`envoy.config.cluster.v3.CircuitBreakers`).

/// Limits of both routing priorities.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct CircuitBreakers {
    /// Those of most requests.
    pub default: Limits,
    /// Those of requests with high priority.
    pub high: Limits,
}

/// Maxima of one priority; `None` is unlimited.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// `max_connections`.
    pub connections: Option<u32>,
    /// `max_pending_requests`.
    pub pending_requests: Option<u32>,
    /// `max_requests`.
    pub requests: Option<u32>,
    /// `max_retries`.
    pub retries: Option<u32>,
    /// `retry_budget`, in place of `retries`.
    pub retry_budget: Option<RetryBudget>,
}

/// `RetryBudget`: retries relative to the requests in flight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryBudget {
    /// `budget_percent`.
    pub percent: f64,
    /// `min_retry_concurrency`.
    pub min_concurrency: u32,
}

impl Default for Limits {
    /// Envoy's defaults.
    fn default() -> Self {
        Self {
            connections: Some(1024),
            pending_requests: Some(1024),
            requests: Some(1024),
            retries: Some(3),
            retry_budget: None,
        }
    }
}
