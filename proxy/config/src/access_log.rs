//! Access logs as executed (`envoy.config.accesslog.v3.AccessLog`): what is logged, how and where.

use std::sync::Arc;

use crate::metadata::Struct;
use crate::response_flags::ResponseFlags;

/// One access log.
#[derive(Debug, Clone)]
pub struct AccessLog {
    /// Which requests are logged; all of them without it.
    pub filter: Option<LogFilter>,
    /// What a line looks like.
    pub format: LogFormat,
    /// Where it goes.
    pub sink: SinkPath,
}

/// What a line looks like: text with command operators.
#[derive(Debug, Clone)]
pub enum LogFormat {
    /// One line of text.
    Text {
        /// Text with operators in it.
        format: Box<str>,
        /// Write nothing for an empty value, instead of `-`.
        omit_empty: bool,
    },
    /// One JSON object per line.
    Json {
        /// The object; its strings have operators in them.
        template: Struct,
        /// Leave fields out that have no value.
        omit_empty: bool,
    },
}

/// Envoy's default line.
pub const DEFAULT_FORMAT: &str = concat!(
    "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" ",
    "%RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% ",
    "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" ",
    "\"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\"\n",
);

/// A file, or one of the standard streams.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SinkPath {
    /// `/dev/stdout`, or the stdout logger.
    Stdout,
    /// `/dev/stderr`, or the stderr logger.
    Stderr,
    /// A file, appended to.
    File(Arc<str>),
}

/// Which requests are logged (`AccessLogFilter`).
#[derive(Debug, Clone)]
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
