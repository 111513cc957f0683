//! Injected faults.

use std::sync::Arc;
use std::time::Duration;

use super::mirror::Percent;

/// `HTTPFaultInjection`: the delay first, then the abort, drawn independently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Wait.
    pub delay: Option<Delay>,
    /// Answer instead of forwarding.
    pub abort: Option<Abort>,
}

/// `fault.delay`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delay {
    /// How long.
    pub fixed: Duration,
    /// How often.
    pub percentage: Percent,
}

/// `fault.abort`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Abort {
    /// With what.
    pub status: AbortStatus,
    /// How often.
    pub percentage: Percent,
}

/// `httpStatus` or `grpcStatus`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AbortStatus {
    /// 200 to 599.
    Http(u16),
    /// The code's number and name, e.g. 14 and `UNAVAILABLE`.
    Grpc(u16, Arc<str>),
}
