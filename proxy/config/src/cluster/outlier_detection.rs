//! When a host is ejected (`envoy.config.cluster.v3.OutlierDetection`).

use std::time::Duration;

/// The settings, percentages as whole numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct OutlierSettings {
    /// Time between sweeps.
    pub interval: Duration,
    /// First ejection time; the n-th is n times as long.
    pub base_ejection_time: Duration,
    /// Longest ejection time.
    pub max_ejection_time: Duration,
    /// Random extra time.
    pub max_ejection_time_jitter: Duration,
    /// Most hosts that may be ejected at once.
    pub max_ejection_percent: u32,
    /// One host may be ejected whatever the percentage says.
    pub always_eject_one_host: bool,
    /// 5xx in a row.
    pub consecutive_5xx: Trigger,
    /// 502, 503, 504 in a row.
    pub consecutive_gateway_failure: Trigger,
    /// Failures on our side of the connection in a row.
    pub consecutive_local_origin_failure: Trigger,
    /// Count failures to connect apart from failures that the upstream reports.
    pub split_external_local_origin_errors: bool,
    /// Success rate far below the mean, of upstream answers and of local events.
    pub success_rate: [SuccessRate; 2],
    /// Failure percentage over a threshold, of upstream answers and of local events.
    pub failure_percentage: [FailurePercentage; 2],
}

/// A count that ejects, in `enforcing` percent of the cases. A count of 0 never does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trigger {
    /// How many in a row.
    pub count: u32,
    /// Chance of ejection.
    pub enforcing: u32,
}

/// Ejection by success rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SuccessRate {
    /// Chance of ejection.
    pub enforcing: u32,
    /// Hosts with enough requests that it takes.
    pub minimum_hosts: u32,
    /// Requests per interval that it takes.
    pub request_volume: u32,
    /// Standard deviations below the mean.
    pub stdev_factor: f64,
}

/// Ejection by failure percentage.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FailurePercentage {
    /// Chance of ejection.
    pub enforcing: u32,
    /// Hosts with enough requests that it takes.
    pub minimum_hosts: u32,
    /// Requests per interval that it takes.
    pub request_volume: u32,
    /// The percentage from which on a host is ejected.
    pub threshold: f64,
}
