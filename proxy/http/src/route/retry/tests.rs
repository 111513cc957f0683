//! Every condition, the limit, and what clients may ask for.

use http::{HeaderValue, Method, Version};

use super::*;
use crate::config::matcher::{HeaderRule, StringMatcher};
use crate::stream::Scheme;

fn request(pairs: &[(&'static str, &'static str)]) -> RequestHead {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.insert(*name, HeaderValue::from_static(value));
    }
    RequestHead {
        method: Method::GET,
        scheme: Scheme::Http,
        path: "/".parse().unwrap(),
        headers,
        version: Version::HTTP_11,
        extensions: http::Extensions::new(),
        upgrade: None,
    }
}

fn policy(on: &str) -> RetryPolicy {
    let (on, unknown) = RetryOn::parse(on);
    assert!(unknown.is_empty());
    RetryPolicy {
        on,
        retriable_status_codes: vec![418],
        retriable_headers: vec![HeaderMatcher {
            name: "x-again".parse().unwrap(),
            rule: HeaderRule::String(StringMatcher::exact("yes", false)),
            invert: false,
            missing_is_empty: false,
        }],
        ..RetryPolicy::default()
    }
}

fn retries_response(on: &str, status: u16, headers: &[(&'static str, &'static str)]) -> bool {
    let policy = policy(on);
    let mut state = RetryState::of(Some(&policy), &mut request(&[])).unwrap();
    let verdict = state.on_response(status, &request(headers).headers);
    matches!(verdict, Verdict::RetryAfter(_))
}

fn retries_reset(on: &str, reset: Reset, started: bool) -> bool {
    let policy = policy(on);
    let mut state = RetryState::of(Some(&policy), &mut request(&[])).unwrap();
    matches!(state.on_reset(reset, started), Verdict::RetryAfter(_))
}

#[test]
fn responses() {
    for (on, status, headers, expected) in [
        ("5xx", 500, &[][..], true),
        ("5xx", 499, &[], false),
        ("gateway-error", 500, &[], false),
        ("gateway-error", 503, &[], true),
        ("retriable-4xx", 409, &[], true),
        ("retriable-4xx", 404, &[], false),
        ("retriable-status-codes", 418, &[], true),
        ("5xx", 418, &[], false),
        ("retriable-headers", 200, &[("x-again", "yes")], true),
        ("retriable-headers", 200, &[("x-again", "no")], false),
        ("unavailable", 200, &[("grpc-status", "14")], true),
        ("unavailable", 200, &[("grpc-status", "13")], false),
        ("cancelled", 200, &[("grpc-status", "1")], true),
        ("deadline-exceeded", 200, &[("grpc-status", "4")], true),
        ("resource-exhausted", 200, &[("grpc-status", "8")], true),
        ("internal", 200, &[("grpc-status", "13")], true),
        ("5xx", 503, &[("x-envoy-ratelimited", "true")], false),
        (
            "envoy-ratelimited",
            429,
            &[("x-envoy-ratelimited", "true")],
            true,
        ),
        ("connect-failure", 503, &[], false),
    ] {
        let retried = retries_response(on, status, headers);
        assert_eq!(retried, expected, "{on} {status} {headers:?}");
    }
}

#[test]
fn resets() {
    for (on, reset, started, expected) in [
        ("5xx", Reset::Remote, true, true),
        ("gateway-error", Reset::ConnectionTermination, true, true),
        ("reset", Reset::ConnectionTermination, true, true),
        ("reset", Reset::Overflow, false, false),
        ("5xx", Reset::Overflow, false, false),
        (
            "reset-before-request",
            Reset::ConnectionTermination,
            false,
            true,
        ),
        (
            "reset-before-request",
            Reset::ConnectionTermination,
            true,
            false,
        ),
        ("refused-stream", Reset::RemoteRefused, true, true),
        ("refused-stream", Reset::Remote, true, false),
        (
            "connect-failure",
            Reset::RemoteConnectionFailure,
            false,
            true,
        ),
        ("connect-failure", Reset::ConnectionTimeout, false, true),
        ("connect-failure", Reset::ConnectionTermination, true, false),
        ("unavailable", Reset::ConnectionTermination, true, false),
    ] {
        assert_eq!(
            retries_reset(on, reset, started),
            expected,
            "{on} {reset:?}"
        );
    }
}

#[test]
fn the_number_is_limited() {
    let policy = policy("5xx");
    let mut state = RetryState::of(Some(&policy), &mut request(&[])).unwrap();
    let none = HeaderMap::new();
    assert!(matches!(
        state.on_response(500, &none),
        Verdict::RetryAfter(_)
    ));
    assert_eq!(state.on_response(500, &none), Verdict::LimitExceeded);
    assert_eq!(state.on_response(200, &none), Verdict::Stands);
}

#[test]
fn clients_may_ask() {
    let mut request = request(&[
        ("x-envoy-retry-on", "retriable-status-codes"),
        ("x-envoy-max-retries", "3"),
        ("x-envoy-retriable-status-codes", "404,x"),
    ]);
    let mut state = RetryState::of(None, &mut request).unwrap();
    assert!(request.headers.is_empty());
    for _ in 0..3 {
        let verdict = state.on_response(404, &HeaderMap::new());
        assert!(matches!(verdict, Verdict::RetryAfter(_)));
    }
    let verdict = state.on_response(404, &HeaderMap::new());
    assert_eq!(verdict, Verdict::LimitExceeded);
}

#[test]
fn nothing_is_kept_where_nothing_is_retried() {
    assert!(RetryState::of(None, &mut request(&[])).is_none());
    let limited = RetryPolicy {
        retriable_request_headers: policy("").retriable_headers,
        ..policy("5xx")
    };
    assert!(RetryState::of(Some(&limited), &mut request(&[])).is_none());
    let mut wanted = request(&[("x-again", "yes")]);
    assert!(RetryState::of(Some(&limited), &mut wanted).is_some());
}

#[test]
fn reset_headers_ask_for_a_time() {
    let max = Duration::from_secs(300);
    assert_eq!(
        reset_interval("5", false, max),
        Some(Duration::from_secs(5))
    );
    assert_eq!(reset_interval("301", false, max), None);
    assert_eq!(reset_interval("x", false, max), None);
    assert_eq!(reset_interval("5", true, max), None);
}

#[test]
fn delays_grow_to_the_maximum() {
    let policy = policy("5xx");
    let mut state = RetryState::of(Some(&policy), &mut request(&[])).unwrap();
    let limits: Vec<u128> = (0..6)
        .map(|_| {
            let limit = state.next_backoff;
            assert!(state.backoff() < limit);
            limit.as_millis()
        })
        .collect();
    assert_eq!(limits, [25, 50, 100, 200, 250, 250]);
}
