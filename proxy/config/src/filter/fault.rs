//! `envoy.filters.http.fault`: which requests are delayed or refused.

use std::time::Duration;

use http::StatusCode;

use crate::matcher::{Fraction, HeaderMatcher};

/// `HTTPFault`.
#[derive(Debug, Default)]
pub struct FaultConfig {
    /// Only requests to this cluster; empty for all.
    pub upstream_cluster: Box<str>,
    /// Only requests with these headers.
    pub headers: Vec<HeaderMatcher>,
    /// Only requests from these nodes (`x-envoy-downstream-service-node`); empty for all.
    pub downstream_nodes: Vec<Box<str>>,
    /// The delay.
    pub delay: Option<Delay>,
    /// The error.
    pub abort: Option<Abort>,
    /// How many requests may suffer at once.
    pub max_active: Option<u64>,
}

/// How long, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delay {
    /// The duration; `None` if the client says it (`x-envoy-fault-delay-request`).
    pub duration: Option<Duration>,
    /// The share of the requests; with a duration from the client, the most it may ask for.
    pub fraction: Fraction,
}

/// Which error, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abort {
    /// What is answered.
    pub kind: AbortKind,
    /// The share of the requests; with an error from the client, the most it may ask for.
    pub fraction: Fraction,
}

/// What is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AbortKind {
    /// An HTTP status.
    Http(StatusCode),
    /// A gRPC status.
    Grpc(u16),
    /// What the client says (`x-envoy-fault-abort-request`, `x-envoy-fault-abort-grpc-request`).
    Header,
}
