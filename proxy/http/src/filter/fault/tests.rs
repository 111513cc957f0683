//! What is drawn, what clients may ask for, and the bound.

use http::HeaderValue;

use super::*;
use crate::config::filter::fault::{Abort, Delay};

const ALWAYS: Fraction = Fraction::ALL;
const NEVER: Fraction = Fraction {
    numerator: 0,
    denominator: 100,
};

fn abort(kind: AbortKind, fraction: Fraction) -> FaultConfig {
    FaultConfig {
        abort: Some(Abort { kind, fraction }),
        ..FaultConfig::default()
    }
}

fn set(headers: &mut HeaderMap, name: &'static str, value: &'static str) {
    headers.insert(name, HeaderValue::from_static(value));
}

#[test]
fn aborts_by_share() {
    let headers = HeaderMap::new();
    let kind = AbortKind::Http(StatusCode::IM_A_TEAPOT);
    let reply = drawn_abort(&abort(kind, ALWAYS), &headers).unwrap();
    assert_eq!(reply.status, 418);
    assert_eq!(&reply.body[..], b"fault filter abort");
    assert_eq!(reply.details, "fault_filter_abort");
    assert_eq!(reply.flags, ResponseFlags::FAULT_INJECTED);
    assert!(drawn_abort(&abort(kind, NEVER), &headers).is_none());
}

#[test]
fn the_client_may_ask_if_it_is_allowed_to() {
    let mut headers = HeaderMap::new();
    let config = abort(AbortKind::Header, ALWAYS);
    assert!(drawn_abort(&config, &headers).is_none());
    set(&mut headers, "x-envoy-fault-abort-grpc-request", "5");
    let reply = drawn_abort(&config, &headers).unwrap();
    assert_eq!((reply.status.as_u16(), reply.grpc_status), (200, Some(5)));
    set(&mut headers, "x-envoy-fault-abort-request", "503");
    let reply = drawn_abort(&config, &headers).unwrap();
    assert_eq!((reply.status.as_u16(), reply.grpc_status), (503, None));
    set(&mut headers, "x-envoy-fault-abort-request-percentage", "0");
    assert!(drawn_abort(&config, &headers).is_none());
}

#[test]
fn delays_need_a_duration() {
    let mut headers = HeaderMap::new();
    let config = |duration| FaultConfig {
        delay: Some(Delay {
            duration,
            fraction: ALWAYS,
        }),
        ..FaultConfig::default()
    };
    let fixed = Duration::from_secs(2);
    assert_eq!(drawn_delay(&config(Some(fixed)), &headers), Some(fixed));
    assert_eq!(drawn_delay(&config(Some(Duration::ZERO)), &headers), None);
    assert_eq!(drawn_delay(&config(None), &headers), None);
    set(&mut headers, "x-envoy-fault-delay-request", "30");
    let asked = Duration::from_millis(30);
    assert_eq!(drawn_delay(&config(None), &headers), Some(asked));
}

#[test]
fn active_faults_are_bounded() {
    let active = Active::default();
    let first = active.enter(Some(1));
    assert!(first.is_some());
    assert!(active.clone().enter(Some(1)).is_none());
    assert!(active.enter(None).is_some());
    drop(first);
    assert!(active.enter(Some(1)).is_some());
}
