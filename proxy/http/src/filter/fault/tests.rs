//! What is drawn, what clients may ask for, and the bound.

use http::HeaderValue;

use super::*;

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
    let reply = abort(kind, ALWAYS).drawn_abort(&headers).unwrap();
    assert_eq!(reply.status, 418);
    assert_eq!(&reply.body[..], b"fault filter abort");
    assert_eq!(reply.details, "fault_filter_abort");
    assert_eq!(reply.flags, ResponseFlags::FAULT_INJECTED);
    assert!(abort(kind, NEVER).drawn_abort(&headers).is_none());
}

#[test]
fn the_client_may_ask_if_it_is_allowed_to() {
    let mut headers = HeaderMap::new();
    let config = abort(AbortKind::Header, ALWAYS);
    assert!(config.drawn_abort(&headers).is_none());
    set(&mut headers, "x-envoy-fault-abort-grpc-request", "5");
    let reply = config.drawn_abort(&headers).unwrap();
    assert_eq!((reply.status.as_u16(), reply.grpc_status), (200, Some(5)));
    set(&mut headers, "x-envoy-fault-abort-request", "503");
    let reply = config.drawn_abort(&headers).unwrap();
    assert_eq!((reply.status.as_u16(), reply.grpc_status), (503, None));
    set(&mut headers, "x-envoy-fault-abort-request-percentage", "0");
    assert!(config.drawn_abort(&headers).is_none());
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
    assert_eq!(config(Some(fixed)).drawn_delay(&headers), Some(fixed));
    assert_eq!(config(Some(Duration::ZERO)).drawn_delay(&headers), None);
    assert_eq!(config(None).drawn_delay(&headers), None);
    set(&mut headers, "x-envoy-fault-delay-request", "30");
    let asked = Duration::from_millis(30);
    assert_eq!(config(None).drawn_delay(&headers), Some(asked));
}

#[test]
fn active_faults_are_bounded() {
    let config = FaultConfig {
        max_active: Some(1),
        ..FaultConfig::default()
    };
    let first = config.enter();
    assert!(first.is_some());
    assert!(config.enter().is_none());
    drop(first);
    assert!(config.enter().is_some());
}
