//! Whether a try that failed is followed by another, and when.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{HeaderMap, HeaderName};
use smallvec::SmallVec;

use crate::body::response::grpc_status;
use crate::client::Reset;
use crate::config::matcher::HeaderMatcher;
use crate::config::route::retry::{RetryOn, RetryPolicy};
use crate::stream::{HeaderKey, RequestHead, joined};

const RETRY_ON: HeaderName = HeaderName::from_static("x-envoy-retry-on");
const RETRY_GRPC_ON: HeaderName = HeaderName::from_static("x-envoy-retry-grpc-on");
const MAX_RETRIES: HeaderName = HeaderName::from_static("x-envoy-max-retries");
const STATUS_CODES: HeaderName = HeaderName::from_static("x-envoy-retriable-status-codes");
const HEADER_NAMES: HeaderName = HeaderName::from_static("x-envoy-retriable-header-names");

/// The retries of one request.
#[derive(Debug)]
pub struct RetryState<'a> {
    policy: Cow<'a, RetryPolicy>,
    on: RetryOn,
    remaining: u32,
    next_backoff: Duration,
    header_names: Vec<HeaderName>,
    /// Hosts that were tried.
    pub tried: SmallVec<[SocketAddr; 2]>,
}

/// What a policy says about an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The outcome stands.
    Stands,
    /// It would be tried again, but the number of retries is used up (flag URX).
    LimitExceeded,
    /// Another try after this time.
    RetryAfter(Duration),
}

impl<'a> RetryState<'a> {
    /// The state for a request; `None` if nothing is ever retried. Removes the headers that only this proxy is
    /// meant to read.
    pub fn of(policy: Option<&'a RetryPolicy>, request: &mut RequestHead) -> Option<Self> {
        let asked = Asked::take(&mut request.headers);
        let mut on = policy.map_or(RetryOn::default(), |policy| policy.on);
        if let Some(policy) = policy
            && !policy.retriable_request_headers.is_empty()
            && !policy
                .retriable_request_headers
                .iter()
                .any(|matcher| matcher.matches(request))
        {
            on = RetryOn::default();
        }
        on.insert(asked.on);
        if on.is_empty() {
            return None;
        }
        let mut policy = policy.map_or_else(|| Cow::Owned(RetryPolicy::default()), Cow::Borrowed);
        if !asked.status_codes.is_empty() {
            let codes = &mut policy.to_mut().retriable_status_codes;
            codes.extend(asked.status_codes);
        }
        Some(Self {
            on,
            remaining: asked.max_retries.unwrap_or(policy.max_retries),
            next_backoff: policy.backoff_base,
            header_names: asked.header_names,
            policy,
            tried: SmallVec::new(),
        })
    }

    /// True if a further attempt may follow.
    pub fn has_more(&self) -> bool {
        self.remaining > 0
    }

    /// The policy in force.
    pub fn policy(&self) -> &RetryPolicy {
        &self.policy
    }

    /// Judges the head of a response.
    pub fn on_response(&mut self, status: u16, headers: &HeaderMap) -> Verdict {
        if !self.wants_response(status, headers) {
            return Verdict::Stands;
        }
        let asked = self.policy.reset_headers.iter().find_map(|reset| {
            let value = headers.get(&reset.name)?.to_str().ok()?;
            reset_interval(value, reset.unix_timestamp, self.policy.reset_max_interval)
        });
        self.decide(asked)
    }

    /// Judges a try without a response. `started` says whether anything of the request was sent.
    pub fn on_reset(&mut self, reset: Reset, started: bool) -> Verdict {
        if !self.wants_reset(reset, started) {
            return Verdict::Stands;
        }
        self.decide(None)
    }

    fn decide(&mut self, asked: Option<Duration>) -> Verdict {
        if self.remaining == 0 {
            return Verdict::LimitExceeded;
        }
        self.remaining -= 1;
        Verdict::RetryAfter(asked.unwrap_or_else(|| self.backoff()))
    }

    /// Fully jittered, doubling up to the maximum.
    fn backoff(&mut self) -> Duration {
        let limit = self.next_backoff;
        self.next_backoff = (limit * 2).min(self.policy.backoff_max).max(limit);
        let ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX).max(1);
        Duration::from_millis(fastrand::u64(..ms))
    }

    fn wants_response(&self, status: u16, headers: &HeaderMap) -> bool {
        if headers.contains_key("x-envoy-ratelimited") {
            return self.on.contains(RetryOn::ENVOY_RATELIMITED);
        }
        let on = |condition| self.on.contains(condition);
        (on(RetryOn::SERVER_ERROR) && (500..600).contains(&status))
            || (on(RetryOn::GATEWAY_ERROR) && (502..=504).contains(&status))
            || (on(RetryOn::RETRIABLE_4XX) && status == 409)
            || (on(RetryOn::RETRIABLE_STATUS_CODES)
                && self.policy.retriable_status_codes.contains(&status))
            || (on(RetryOn::RETRIABLE_HEADERS) && self.has_retriable_header(status, headers))
            || grpc_status(headers).is_some_and(|status| self.wants_grpc(status))
    }

    fn has_retriable_header(&self, status: u16, headers: &HeaderMap) -> bool {
        let listed = |matcher: &HeaderMatcher| {
            let status = status.to_string();
            let value = match &matcher.name {
                HeaderKey::Name(name) => joined(headers, name),
                HeaderKey::Status => Some(status.as_bytes().into()),
                _ => None,
            };
            matcher.matches_value(value.as_deref())
        };
        self.policy.retriable_headers.iter().any(listed)
            || self
                .header_names
                .iter()
                .any(|name| headers.contains_key(name))
    }

    fn wants_grpc(&self, status: u16) -> bool {
        let condition = match status {
            1 => RetryOn::GRPC_CANCELLED,
            4 => RetryOn::GRPC_DEADLINE_EXCEEDED,
            8 => RetryOn::GRPC_RESOURCE_EXHAUSTED,
            13 => RetryOn::GRPC_INTERNAL,
            14 => RetryOn::GRPC_UNAVAILABLE,
            _ => return false,
        };
        self.on.contains(condition)
    }

    fn wants_reset(&self, reset: Reset, started: bool) -> bool {
        let on = |condition| self.on.contains(condition);
        reset != Reset::Overflow
            && (on(RetryOn::RESET)
                || on(RetryOn::SERVER_ERROR)
                || on(RetryOn::GATEWAY_ERROR)
                || (on(RetryOn::RESET_BEFORE_REQUEST) && !started)
                || (on(RetryOn::REFUSED_STREAM) && reset == Reset::RemoteRefused)
                || (on(RetryOn::CONNECT_FAILURE) && reset.is_connection_failure()))
    }
}

/// How long a reset header asks to wait.
fn reset_interval(value: &str, unix_timestamp: bool, max: Duration) -> Option<Duration> {
    let seconds = Duration::from_secs(value.trim().parse().ok()?);
    let interval = if unix_timestamp {
        seconds.checked_sub(SystemTime::now().duration_since(UNIX_EPOCH).ok()?)?
    } else {
        seconds
    };
    (!interval.is_zero() && interval <= max).then_some(interval)
}

/// What a trusted client asks for.
#[derive(Debug, Default)]
struct Asked {
    on: RetryOn,
    max_retries: Option<u32>,
    status_codes: Vec<u16>,
    header_names: Vec<HeaderName>,
}

impl Asked {
    fn take(headers: &mut HeaderMap) -> Self {
        let mut asked = Self::default();
        if !headers
            .keys()
            .any(|name| name.as_str().starts_with("x-envoy-"))
        {
            return asked;
        }
        let mut take = |name| {
            let value = headers.remove(name)?;
            value.to_str().ok().map(str::to_owned)
        };
        for name in [RETRY_ON, RETRY_GRPC_ON] {
            if let Some(list) = take(name) {
                asked.on.insert(RetryOn::parse(&list).0);
            }
        }
        asked.max_retries = take(MAX_RETRIES).and_then(|max| max.parse().ok());
        if let Some(codes) = take(STATUS_CODES) {
            let codes = codes
                .split(',')
                .filter_map(|code| code.trim().parse::<u16>().ok());
            asked.status_codes.extend(codes);
        }
        if let Some(names) = take(HEADER_NAMES) {
            let names = names
                .split(',')
                .filter_map(|name| name.trim().parse::<HeaderName>().ok());
            asked.header_names.extend(names);
        }
        asked
    }
}

#[cfg(test)]
mod tests;
