//! Retry policies as executed (`envoy.config.route.v3.RetryPolicy`).

use std::time::Duration;

use crate::matcher::HeaderMatcher;

/// What is tried again, how often and when.
#[derive(Debug, Clone)]
pub struct RetryPolicy {
    /// On which outcomes.
    pub on: RetryOn,
    /// How often besides the first try.
    pub max_retries: u32,
    /// The limit of each try; `None` is that of the whole exchange.
    pub per_try_timeout: Option<Duration>,
    /// The base of the growing delay.
    pub backoff_base: Duration,
    /// The longest delay.
    pub backoff_max: Duration,
    /// Statuses for `retriable-status-codes`.
    pub retriable_status_codes: Vec<u16>,
    /// Response headers for `retriable-headers`.
    pub retriable_headers: Vec<HeaderMatcher>,
    /// Only requests with one of these headers; empty for all.
    pub retriable_request_headers: Vec<HeaderMatcher>,
    /// `envoy.retry_host_predicates.previous_hosts`: do not try a host twice.
    pub avoid_previous_hosts: bool,
    /// How often to choose again when a predicate refuses a host.
    pub host_selection_max_attempts: u32,
    /// `rate_limited_retry_back_off`.
    pub reset_headers: Vec<ResetHeader>,
    /// The longest delay that a reset header may ask for.
    pub reset_max_interval: Duration,
}

/// `RetryPolicy.ResetHeader`.
#[derive(Debug, Clone)]
pub struct ResetHeader {
    /// Its name.
    pub name: http::HeaderName,
    /// Its value is a time, not a number of seconds from now.
    pub unix_timestamp: bool,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            on: RetryOn::default(),
            max_retries: 1,
            per_try_timeout: None,
            backoff_base: Duration::from_millis(25),
            backoff_max: Duration::from_millis(250),
            retriable_status_codes: Vec::new(),
            retriable_headers: Vec::new(),
            retriable_request_headers: Vec::new(),
            avoid_previous_hosts: false,
            host_selection_max_attempts: 1,
            reset_headers: Vec::new(),
            reset_max_interval: Duration::from_secs(300),
        }
    }
}

/// Outcomes to retry on, one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RetryOn(pub u32);

macro_rules! retry_on {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $bit:literal;)*) => {
        impl RetryOn {
            $($(#[$doc])* pub const $name: Self = Self(1 << $bit);)*
            const NAMES: &'static [(&'static str, Self)] = &[$(($text, Self::$name)),*];
        }
    };
}

retry_on! {
    /// Any 5xx, resets and timeouts included.
    SERVER_ERROR = "5xx", 0;
    /// 502, 503, 504, resets included.
    GATEWAY_ERROR = "gateway-error", 1;
    /// No response at all.
    RESET = "reset", 2;
    /// Reset before anything of the request was sent.
    RESET_BEFORE_REQUEST = "reset-before-request", 3;
    /// The connection could not be made.
    CONNECT_FAILURE = "connect-failure", 4;
    /// `x-envoy-ratelimited` in the response.
    ENVOY_RATELIMITED = "envoy-ratelimited", 5;
    /// 409.
    RETRIABLE_4XX = "retriable-4xx", 6;
    /// The upstream refused the stream.
    REFUSED_STREAM = "refused-stream", 7;
    /// One of the statuses listed.
    RETRIABLE_STATUS_CODES = "retriable-status-codes", 8;
    /// One of the headers listed.
    RETRIABLE_HEADERS = "retriable-headers", 9;
    /// Never happens here: there is no HTTP/3.
    HTTP3_POST_CONNECT_FAILURE = "http3-post-connect-failure", 10;
    /// gRPC status 1.
    GRPC_CANCELLED = "cancelled", 16;
    /// gRPC status 4.
    GRPC_DEADLINE_EXCEEDED = "deadline-exceeded", 17;
    /// gRPC status 13.
    GRPC_INTERNAL = "internal", 18;
    /// gRPC status 8.
    GRPC_RESOURCE_EXHAUSTED = "resource-exhausted", 19;
    /// gRPC status 14.
    GRPC_UNAVAILABLE = "unavailable", 20;
}

impl RetryOn {
    /// Reads a comma-separated list; `None` for the names it does not know.
    pub fn parse(list: &str) -> (Self, Vec<&str>) {
        let mut on = Self::default();
        let mut unknown = Vec::new();
        for name in list.split(',').map(str::trim).filter(|n| !n.is_empty()) {
            match Self::NAMES.iter().find(|(known, _)| *known == name) {
                Some((_, bit)) => on.insert(*bit),
                None => unknown.push(name),
            }
        }
        (on, unknown)
    }

    /// True if any bit of `other` is set.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Sets the bits of `other`.
    pub fn insert(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// True if nothing is retried.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_unknown_names_told() {
        let (on, unknown) = RetryOn::parse("5xx, connect-failure,unavailable,nonsense,");
        assert!(on.contains(RetryOn::SERVER_ERROR));
        assert!(on.contains(RetryOn::CONNECT_FAILURE));
        assert!(on.contains(RetryOn::GRPC_UNAVAILABLE));
        assert!(!on.contains(RetryOn::RESET));
        assert_eq!(unknown, ["nonsense"]);
    }
}
