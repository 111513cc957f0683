//! Which requests an access log shows (`envoy.config.accesslog.v3.AccessLogFilter`).

use std::time::Instant;

use crate::config::access_log::{Comparison, ComparisonOp, LogFilter};
use crate::stream_info::StreamInfo;

fn holds(comparison: &Comparison, value: u64) -> bool {
    match comparison.op {
        ComparisonOp::Equal => value == comparison.value,
        ComparisonOp::GreaterOrEqual => value >= comparison.value,
        ComparisonOp::LessOrEqual => value <= comparison.value,
        ComparisonOp::NotEqual => value != comparison.value,
    }
}

/// Whether the request is logged.
pub(super) fn passes(filter: &LogFilter, info: &StreamInfo) -> bool {
    match filter {
        LogFilter::StatusCode(comparison) => holds(comparison, info.response_code.into()),
        LogFilter::Duration(comparison) => {
            let elapsed = Instant::now().duration_since(info.start);
            holds(comparison, elapsed.as_millis() as u64)
        }
        LogFilter::ResponseFlags(flags) if flags.0 == 0 => info.flags.0 != 0,
        LogFilter::ResponseFlags(flags) => info.flags.contains(*flags),
        LogFilter::GrpcStatus { statuses, exclude } => {
            // Envoy derives a status from the response code where there is none.
            let status = info
                .grpc_status
                .unwrap_or_else(|| grpc_status_of(info.response_code));
            statuses.contains(&status) != *exclude
        }
        LogFilter::Sample(millionths) => fastrand::u32(..1_000_000) < *millionths,
        LogFilter::And(filters) => filters.iter().all(|filter| passes(filter, info)),
        LogFilter::Or(filters) => filters.iter().any(|filter| passes(filter, info)),
        LogFilter::Always => true,
    }
}

/// <https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md>
fn grpc_status_of(status: u16) -> u16 {
    match status {
        200 => 0,
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}
