//! Which endpoints are left out for a while.

use std::time::Duration;

/// `OutlierDetection`, with Istio's defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutlierDetection {
    /// 5xx in a row; 0 is off (default 5).
    pub consecutive_5xx: u32,
    /// 502, 503, 504 in a row; 0 is off (default 0).
    pub consecutive_gateway: u32,
    /// Count local failures (connect, timeout) apart.
    pub split_local_origin: bool,
    /// Local failures in a row (default 5); needs `split_local_origin`.
    pub consecutive_local_origin: u32,
    /// Time between sweeps (default 10 s).
    pub interval: Duration,
    /// Ejection time, multiplied by the number of ejections (default 30 s).
    pub base_ejection_time: Duration,
    /// Share of endpoints that may be out, in per cent (default 10).
    pub max_ejection_percent: u32,
    /// Share of healthy endpoints under which health is ignored, in per cent (default 0: never).
    pub min_health_percent: u32,
}

impl Default for OutlierDetection {
    fn default() -> Self {
        Self {
            consecutive_5xx: 5,
            consecutive_gateway: 0,
            split_local_origin: false,
            consecutive_local_origin: 5,
            interval: Duration::from_secs(10),
            base_ejection_time: Duration::from_secs(30),
            max_ejection_percent: 10,
            min_health_percent: 0,
        }
    }
}
