//! How long a request may take: the route's limits, and what trusted clients ask for.

use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::config::http::{HttpLimits, RouterOptions};
use crate::config::route::Forward;

const RQ_TIMEOUT: HeaderName = HeaderName::from_static("x-envoy-upstream-rq-timeout-ms");
const PER_TRY_TIMEOUT: HeaderName =
    HeaderName::from_static("x-envoy-upstream-rq-per-try-timeout-ms");
const EXPECTED_TIMEOUT: HeaderName = HeaderName::from_static("x-envoy-expected-rq-timeout-ms");
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// The limits of one request; `None` is unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timeouts {
    /// From the end of the request to the end of the response, retries included.
    pub global: Option<Duration>,
    /// The same for each try, to the head of the response.
    pub per_try: Option<Duration>,
    /// Silence on the stream.
    pub idle: Option<Duration>,
    /// From the beginning of the stream to its end.
    pub duration: Option<Duration>,
}

impl Timeouts {
    /// The limits for a request; removes the headers that only this proxy is meant to read.
    pub fn of(
        forward: &Forward,
        limits: &HttpLimits,
        router: &RouterOptions,
        headers: &mut HeaderMap,
    ) -> Self {
        let retry = forward.retry.as_deref();
        let mut timeouts = Self {
            global: forward.timeout,
            per_try: retry.and_then(|retry| retry.per_try_timeout),
            idle: forward.idle_timeout.unwrap_or(limits.stream_idle_timeout),
            duration: duration_limit(forward, limits, headers),
        };
        if let Some(asked) = take_ms(headers, RQ_TIMEOUT) {
            timeouts.global = nonzero(asked);
        } else if router.respect_expected_timeout
            && let Some(expected) = ms(headers, &EXPECTED_TIMEOUT)
        {
            timeouts.global = nonzero(expected);
        }
        if let Some(asked) = take_ms(headers, PER_TRY_TIMEOUT) {
            timeouts.per_try = nonzero(asked);
        }
        // A try cannot take longer than the whole.
        if let (Some(global), Some(per_try)) = (timeouts.global, timeouts.per_try)
            && per_try >= global
        {
            timeouts.per_try = None;
        }
        timeouts
    }

    /// Tells the upstream how long it has.
    pub fn announce(&self, router: &RouterOptions, headers: &mut HeaderMap) {
        if router.suppress_envoy_headers {
            return;
        }
        if let Some(limit) = self.per_try.or(self.global) {
            let ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
            headers.insert(EXPECTED_TIMEOUT, HeaderValue::from(ms));
        }
    }
}

fn duration_limit(forward: &Forward, limits: &HttpLimits, headers: &HeaderMap) -> Option<Duration> {
    let Some(route) = &forward.max_stream_duration else {
        return limits.max_stream_duration;
    };
    let asked = route.grpc_header_max.and_then(|max| {
        let asked = grpc_timeout(headers)?;
        Some(if max.is_zero() { asked } else { asked.min(max) })
    });
    match asked {
        Some(asked) => Some(asked.saturating_sub(route.grpc_header_offset)),
        None => match route.limit {
            Some(limit) => nonzero(limit),
            None => limits.max_stream_duration,
        },
    }
}

/// `grpc-timeout` (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>).
pub fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(GRPC_TIMEOUT)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(value * 3600),
        "M" => Duration::from_secs(value * 60),
        "S" => Duration::from_secs(value),
        "m" => Duration::from_millis(value),
        // Envoy's clock has milliseconds, rounded up.
        "u" => Duration::from_millis(value.div_ceil(1_000)),
        "n" => Duration::from_millis(value.div_ceil(1_000_000)),
        _ => return None,
    })
}

fn nonzero(limit: Duration) -> Option<Duration> {
    (!limit.is_zero()).then_some(limit)
}

fn ms(headers: &HeaderMap, name: &HeaderName) -> Option<Duration> {
    let text = headers.get(name)?.to_str().ok()?;
    text.parse().ok().map(Duration::from_millis)
}

fn take_ms(headers: &mut HeaderMap, name: HeaderName) -> Option<Duration> {
    if !headers.contains_key(&name) {
        return None;
    }
    let taken = ms(headers, &name);
    headers.remove(name);
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_timeouts_are_read() {
        for (text, expected) in [
            ("1H", Some(3_600_000)),
            ("2M", Some(120_000)),
            ("3S", Some(3_000)),
            ("4m", Some(4)),
            ("1500u", Some(2)),
            ("1n", Some(1)),
            ("0S", Some(0)),
            ("5", None),
            ("S", None),
            ("5x", None),
            ("123456789S", None),
            ("-1S", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(GRPC_TIMEOUT, HeaderValue::from_static(text));
            let expected = expected.map(Duration::from_millis);
            assert_eq!(grpc_timeout(&headers), expected, "{text}");
        }
    }

    #[test]
    fn the_upstream_is_told_the_tighter_limit() {
        let announced = |global, per_try| {
            let timeouts = Timeouts {
                global,
                per_try,
                ..Timeouts::default()
            };
            let mut headers = HeaderMap::new();
            timeouts.announce(&RouterOptions::default(), &mut headers);
            headers
                .get(EXPECTED_TIMEOUT)
                .map(|v| v.to_str().unwrap().to_owned())
        };
        let seconds = |n| Some(Duration::from_secs(n));
        assert_eq!(announced(None, None), None);
        assert_eq!(announced(seconds(15), None).as_deref(), Some("15000"));
        assert_eq!(announced(seconds(15), seconds(2)).as_deref(), Some("2000"));
    }
}
