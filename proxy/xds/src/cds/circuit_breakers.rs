//! `envoy.config.cluster.v3.CircuitBreakers` to limits.

use xds::envoy::cluster::CircuitBreakers;
use xds::envoy::cluster::circuit_breakers::Thresholds;
use xds::envoy::core::RoutingPriority;
use xds::pb::google::protobuf::UInt32Value;

use crate::config::cluster::circuit_breaker::{self, Limits, RetryBudget};
use crate::config::error::{ConfigError, Within};

/// Limits of the default and of the high priority.
pub(super) fn limits(
    proto: Option<&CircuitBreakers>,
) -> Result<circuit_breaker::CircuitBreakers, ConfigError> {
    let mut limits = circuit_breaker::CircuitBreakers::default();
    let Some(proto) = proto else {
        return Ok(limits);
    };
    if !proto.per_host_thresholds.is_empty() {
        return Err(ConfigError::unsupported(
            "per_host_thresholds",
            "a limit for each host",
        ));
    }
    for (n, entry) in proto.thresholds.iter().enumerate() {
        let thresholds = thresholds(entry).within(format_args!("thresholds[{n}]"))?;
        match entry.priority() {
            RoutingPriority::Default => limits.default = thresholds,
            RoutingPriority::High => limits.high = thresholds,
        }
    }
    Ok(limits)
}

fn thresholds(proto: &Thresholds) -> Result<Limits, ConfigError> {
    if proto
        .max_connection_pools
        .is_some_and(|max| max.value != u32::MAX)
    {
        return Err(ConfigError::unsupported(
            "max_connection_pools",
            "a limit of pools",
        ));
    }
    let defaults = Limits::default();
    let limit = |proto: Option<UInt32Value>, default| match proto {
        // How Istio writes "unlimited".
        Some(max) if max.value == u32::MAX => None,
        Some(max) => Some(max.value),
        None => default,
    };
    Ok(Limits {
        connections: limit(proto.max_connections, defaults.connections),
        pending_requests: limit(proto.max_pending_requests, defaults.pending_requests),
        requests: limit(proto.max_requests, defaults.requests),
        retries: limit(proto.max_retries, defaults.retries),
        retry_budget: proto.retry_budget.as_ref().map(|budget| RetryBudget {
            percent: budget.budget_percent.map_or(20.0, |percent| percent.value),
            min_concurrency: budget.min_retry_concurrency.map_or(3, |min| min.value),
        }),
    })
}
