//! `outlierDetection`: which endpoints are ejected from load balancing.

use mesh_api::traffic_policy::outlier_detection::OutlierDetection;

use crate::decode::jsonpb::GoDuration;
use crate::kinds::findings::Findings;
use crate::kinds::rules;
use crate::kinds::wire::wire;
use crate::manifest::path::FieldPath;

wire! {
    WireOutliers {
        /// Deprecated: use consecutiveGatewayErrors or consecutive5xxErrors.
        consecutive_errors: i32,
        /// True to count failures before a response (connecting, timeouts) apart from error responses.
        split_external_local_origin_errors: bool,
        /// Consecutive failures before a response after which an endpoint is ejected. Requires
        /// splitExternalLocalOriginErrors. 5 by default, 0 is never.
        consecutive_local_origin_failures: Option<u32>,
        /// Consecutive responses 502, 503 or 504, or failed connections, after which an endpoint is ejected. 0
        /// (default) is never.
        consecutive_gateway_errors: Option<u32>,
        /// Consecutive 5xx responses, or failed connections, after which an endpoint is ejected. 5 by default, 0 is
        /// never.
        consecutive_5xx_errors: Option<u32>,
        /// Time between two sweeps, which end ejections that are over, at least 1ms. 10s by default.
        interval: Option<GoDuration>,
        /// Time of the first ejection, at least 1ms. Each further one of the endpoint is longer by this. 30s by
        /// default.
        base_ejection_time: Option<GoDuration>,
        /// Percentage of the endpoints that may be ejected at the same time, 0 to 100. 10 by default.
        max_ejection_percent: i32,
        /// Percentage of healthy endpoints, 0 to 100, below which ejections are ignored and all endpoints receive
        /// traffic. 0 (default) is never.
        min_health_percent: i32,
        /// Not supported yet: status codes that count as errors.
        outlier_detection_http_error_codes: Vec<u32>,
    }
}

pub(super) fn read(
    wire: &WireOutliers,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> OutlierDetection {
    rules::duration(wire.interval, &path.field("interval"), findings);
    let ejection = path.field("baseEjectionTime");
    rules::duration(wire.base_ejection_time, &ejection, findings);
    let max_ejection_percent = percent(
        wire.max_ejection_percent,
        &path.field("maxEjectionPercent"),
        findings,
    );
    let min_health_percent = percent(
        wire.min_health_percent,
        &path.field("minHealthPercent"),
        findings,
    );
    let deprecated = consecutive_errors(wire, &path.field("consecutiveErrors"), findings);
    local_origin(wire, path, findings);
    error_codes(wire, path, findings);
    let default = OutlierDetection::default();
    OutlierDetection {
        consecutive_5xx: wire
            .consecutive_5xx_errors
            .unwrap_or(default.consecutive_5xx),
        consecutive_gateway: wire
            .consecutive_gateway_errors
            .or(deprecated)
            .unwrap_or(default.consecutive_gateway),
        split_local_origin: wire.split_external_local_origin_errors,
        consecutive_local_origin: wire
            .consecutive_local_origin_failures
            .unwrap_or(default.consecutive_local_origin),
        interval: wire.interval.map_or(default.interval, |time| time.0),
        base_ejection_time: wire
            .base_ejection_time
            .map_or(default.base_ejection_time, |time| time.0),
        max_ejection_percent: match max_ejection_percent {
            0 => default.max_ejection_percent,
            percent => percent,
        },
        min_health_percent,
    }
}

fn percent(value: i32, path: &FieldPath<'_>, findings: &mut Findings<'_>) -> u32 {
    rules::percent(f64::from(value), path, findings);
    u32::try_from(value).unwrap_or(0)
}

/// The deprecated `consecutiveErrors` is the gateway error count, as in Istio.
fn consecutive_errors(
    wire: &WireOutliers,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<u32> {
    rules::not_negative(wire.consecutive_errors, path, findings);
    if wire.consecutive_errors != 0 {
        let instead = "consecutiveGatewayErrors or consecutive5xxErrors";
        findings.deprecated(path, instead);
    }
    let count = u32::try_from(wire.consecutive_errors).ok();
    count.filter(|count| *count > 0)
}

fn local_origin(wire: &WireOutliers, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    let counts = wire
        .consecutive_local_origin_failures
        .is_some_and(|count| count > 0);
    if counts && !wire.split_external_local_origin_errors {
        findings
            .error(
                &path.field("consecutiveLocalOriginFailures"),
                "local failures are not counted apart",
            )
            .suggest("set splitExternalLocalOriginErrors: true");
    }
}

fn error_codes(wire: &WireOutliers, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    let list = path.field("outlierDetectionHttpErrorCodes");
    let codes = &wire.outlier_detection_http_error_codes;
    for (index, code) in codes.iter().enumerate() {
        if !(100..=599).contains(code) {
            findings.error(&list.index(index), format!("{code} is not a status code"));
        }
    }
    if !codes.is_empty() {
        findings.not_supported(&list);
    }
}
