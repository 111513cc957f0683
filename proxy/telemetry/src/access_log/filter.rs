//! Which requests an access log shows (`envoy.config.accesslog.v3.AccessLogFilter`).

use std::time::Instant;

use crate::telemetry::stream_info::{ResponseFlags, StreamInfo};

/// A compiled filter.
#[derive(Debug)]
pub enum LogFilter {
    /// `status_code_filter`.
    StatusCode(Comparison),
    /// `duration_filter`, in milliseconds.
    Duration(Comparison),
    /// `response_flag_filter`: one of these flags is set; with none named, any.
    ResponseFlags(ResponseFlags),
    /// `grpc_status_filter`.
    GrpcStatus {
        /// The statuses.
        statuses: Vec<u16>,
        /// Log what is not among them.
        exclude: bool,
    },
    /// `header_filter`, by the position of its decision.
    Header(usize),
    /// `runtime_filter` without runtime: a share of the requests, in millionths.
    Sample(u32),
    /// `and_filter`.
    And(Vec<LogFilter>),
    /// `or_filter`.
    Or(Vec<LogFilter>),
    /// `not_health_check_filter`: nothing here marks a request as a health check.
    Always,
}

/// `ComparisonFilter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Comparison {
    /// The operator.
    pub op: ComparisonOp,
    /// What is compared with.
    pub value: u64,
}

/// Operators of [`Comparison`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ComparisonOp {
    /// Equal.
    Equal,
    /// Greater or equal.
    GreaterOrEqual,
    /// Less or equal.
    LessOrEqual,
    /// Not equal.
    NotEqual,
}

impl Comparison {
    fn holds(self, value: u64) -> bool {
        match self.op {
            ComparisonOp::Equal => value == self.value,
            ComparisonOp::GreaterOrEqual => value >= self.value,
            ComparisonOp::LessOrEqual => value <= self.value,
            ComparisonOp::NotEqual => value != self.value,
        }
    }
}

impl LogFilter {
    /// Whether the request is logged. Decisions of header filters begin at `offset` of the captured values.
    pub(super) fn passes(&self, info: &StreamInfo, offset: usize) -> bool {
        match self {
            Self::StatusCode(comparison) => comparison.holds(info.response_code.into()),
            Self::Duration(comparison) => {
                let elapsed = Instant::now().duration_since(info.start);
                comparison.holds(elapsed.as_millis() as u64)
            }
            Self::ResponseFlags(flags) if flags.0 == 0 => info.flags.0 != 0,
            Self::ResponseFlags(flags) => info.flags.contains(*flags),
            Self::GrpcStatus { statuses, exclude } => {
                // Envoy derives a status from the response code where there is none.
                let status = info
                    .grpc_status
                    .unwrap_or_else(|| grpc_status_of(info.response_code));
                statuses.contains(&status) != *exclude
            }
            Self::Header(position) => info
                .logged_request_headers
                .get(offset + position)
                .is_some_and(Option::is_some),
            Self::Sample(millionths) => fastrand::u32(..1_000_000) < *millionths,
            Self::And(filters) => filters.iter().all(|filter| filter.passes(info, offset)),
            Self::Or(filters) => filters.iter().any(|filter| filter.passes(info, offset)),
            Self::Always => true,
        }
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
