//! `envoy.config.cluster.v3.OutlierDetection` to settings, with Envoy's defaults.

use std::time::Duration;

use xds::envoy::cluster::OutlierDetection;

use crate::any::{bool_or, duration_or, u32_or};
use crate::config::cluster::outlier_detection::{
    FailurePercentage, OutlierSettings, SuccessRate, Trigger,
};
use crate::config::error::ConfigError;

const INTERVAL: Duration = Duration::from_secs(10);
const BASE_EJECTION_TIME: Duration = Duration::from_secs(30);
const MAX_EJECTION_TIME: Duration = Duration::from_secs(300);

pub(super) fn settings(proto: &OutlierDetection) -> Result<OutlierSettings, ConfigError> {
    if !proto.monitors.is_empty() {
        return Err(ConfigError::unsupported("monitors", "a monitor extension"));
    }
    if bool_or(proto.detect_degraded_hosts.as_ref(), false) {
        return Err(ConfigError::unsupported(
            "detect_degraded_hosts",
            "detection of degradation",
        ));
    }
    let base_ejection_time = duration_or(
        "base_ejection_time",
        proto.base_ejection_time.as_ref(),
        BASE_EJECTION_TIME,
    )?;
    let success_rate = |enforcing| SuccessRate {
        enforcing,
        minimum_hosts: u32_or(proto.success_rate_minimum_hosts.as_ref(), 5),
        request_volume: u32_or(proto.success_rate_request_volume.as_ref(), 100),
        stdev_factor: f64::from(u32_or(proto.success_rate_stdev_factor.as_ref(), 1900)) / 1000.0,
    };
    let failure_percentage = |enforcing| FailurePercentage {
        enforcing,
        minimum_hosts: u32_or(proto.failure_percentage_minimum_hosts.as_ref(), 5),
        request_volume: u32_or(proto.failure_percentage_request_volume.as_ref(), 50),
        threshold: f64::from(u32_or(proto.failure_percentage_threshold.as_ref(), 85)),
    };
    let interval = duration_or("interval", proto.interval.as_ref(), INTERVAL)?;
    if interval.is_zero() {
        return Err(ConfigError::new("interval", "must be more than zero"));
    }
    let max_ejection_time = duration_or(
        "max_ejection_time",
        proto.max_ejection_time.as_ref(),
        MAX_EJECTION_TIME.max(base_ejection_time),
    )?;
    if max_ejection_time < base_ejection_time {
        return Err(ConfigError::new(
            "max_ejection_time",
            "must not be less than base_ejection_time",
        ));
    }
    Ok(OutlierSettings {
        interval,
        base_ejection_time,
        max_ejection_time,
        max_ejection_time_jitter: duration_or(
            "max_ejection_time_jitter",
            proto.max_ejection_time_jitter.as_ref(),
            Duration::ZERO,
        )?,
        max_ejection_percent: u32_or(proto.max_ejection_percent.as_ref(), 10),
        always_eject_one_host: bool_or(proto.always_eject_one_host.as_ref(), false),
        consecutive_5xx: Trigger {
            count: u32_or(proto.consecutive_5xx.as_ref(), 5),
            enforcing: u32_or(proto.enforcing_consecutive_5xx.as_ref(), 100),
        },
        consecutive_gateway_failure: Trigger {
            count: u32_or(proto.consecutive_gateway_failure.as_ref(), 5),
            enforcing: u32_or(proto.enforcing_consecutive_gateway_failure.as_ref(), 0),
        },
        consecutive_local_origin_failure: Trigger {
            count: u32_or(proto.consecutive_local_origin_failure.as_ref(), 5),
            enforcing: u32_or(
                proto.enforcing_consecutive_local_origin_failure.as_ref(),
                100,
            ),
        },
        split_external_local_origin_errors: proto.split_external_local_origin_errors,
        success_rate: [
            success_rate(u32_or(proto.enforcing_success_rate.as_ref(), 100)),
            success_rate(match proto.split_external_local_origin_errors {
                true => u32_or(proto.enforcing_local_origin_success_rate.as_ref(), 100),
                false => 0,
            }),
        ],
        failure_percentage: [
            failure_percentage(u32_or(proto.enforcing_failure_percentage.as_ref(), 0)),
            failure_percentage(u32_or(
                proto.enforcing_failure_percentage_local_origin.as_ref(),
                0,
            )),
        ],
    })
}
