//! Whole-request limits.

use std::time::Duration;

/// `http[].timeout`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Timeout {
    /// None; `grpc-timeout` is honoured without bound.
    #[default]
    Off,
    /// From the end of the request to the end of the response, retries included.
    After(Duration),
}
