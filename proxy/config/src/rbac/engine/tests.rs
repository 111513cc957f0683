//! Rules over connections and requests.

use std::time::Instant;

use http::{HeaderMap, HeaderValue, Method, Version};

use super::super::{Action, Input, Permission, Policies, Policy, Principal};
use crate::connection::{ConnectionInfo, PeerCertificate, TlsInfo};
use crate::listener::Direction;
use crate::matcher::{HeaderMatcher, HeaderRule, StringMatcher};
use crate::request::{RequestHead, Scheme};

const ID: &str = "spiffe://cluster.local/ns/default/sa/sleep";

fn connection(identity: Option<&str>) -> ConnectionInfo {
    let peer = identity.map(|identity| PeerCertificate {
        uri_sans: vec![identity.into()],
        ..PeerCertificate::default()
    });
    ConnectionInfo {
        buffer_limit_bytes: 1 << 20,
        id: 1,
        direction: Direction::Inbound,
        remote: "10.0.0.1:1000".parse().unwrap(),
        direct_remote: "10.0.0.2:1000".parse().unwrap(),
        local: "[::ffff:10.0.0.3]:9080".parse().unwrap(),
        original_destination: None,
        server_name: Some("a.b".into()),
        tls: Some(TlsInfo {
            peer,
            ..TlsInfo::default()
        }),
        start: Instant::now(),
        filter_chain: "inbound".into(),
    }
}

fn request() -> RequestHead {
    let mut headers = HeaderMap::new();
    headers.insert("host", HeaderValue::from_static("reviews:9080"));
    RequestHead {
        method: Method::GET,
        scheme: Scheme::Http,
        path: "/reviews/1?a=b".parse().unwrap(),
        headers,
        version: Version::HTTP_11,
        extensions: http::Extensions::new(),
        upgrade: None,
    }
}

fn permits(permission: Permission) -> bool {
    decide(Action::Allow, permission, Principal::Any(true))
}

fn is(principal: Principal) -> bool {
    decide(Action::Allow, Permission::Any(true), principal)
}

fn decide(action: Action, permission: Permission, principal: Principal) -> bool {
    let policies = Policies {
        action,
        policies: vec![Policy {
            name: "p".into(),
            permissions: vec![permission],
            principals: vec![principal],
        }],
    };
    let connection = connection(Some(ID));
    let request = request();
    let input = Input {
        metadata: None,
        connection: &connection,
        remote: "1.2.3.4:0".parse().unwrap(),
        request: Some(&request),
    };
    policies.evaluate(&input).allowed
}

fn header(name: &str, value: &str) -> HeaderMatcher {
    HeaderMatcher {
        name: name.parse().unwrap(),
        rule: HeaderRule::String(StringMatcher::exact(value, false)),
        invert: false,
        missing_is_empty: false,
    }
}

#[test]
fn permissions() {
    let path = |p: &str| Permission::UrlPath(StringMatcher::exact(p, false));
    assert!(permits(path("/reviews/1")));
    assert!(!permits(path("/reviews/1?a=b")));
    assert!(permits(Permission::Header(header(":method", "GET"))));
    assert!(permits(Permission::Header(header(
        ":authority",
        "reviews:9080"
    ))));
    assert!(!permits(Permission::Header(header("x-none", ""))));
    assert!(permits(Permission::DestinationIp(
        "10.0.0.3/32".parse().unwrap()
    )));
    assert!(permits(Permission::DestinationPort(9080..9081)));
    assert!(!permits(Permission::DestinationPort(0..9080)));
    let name = |n: &str| Permission::RequestedServerName(StringMatcher::suffix(n, false));
    assert!(permits(name(".b")));
    assert!(!permits(Permission::Not(Box::new(name(".b")))));
    assert!(permits(Permission::Or(vec![path("/x"), name("b")])));
    assert!(!permits(Permission::All(vec![path("/x"), name("b")])));
    assert!(permits(Permission::All(vec![])));
    assert!(!permits(Permission::Or(vec![])));
}

#[test]
fn principals() {
    let named = |n: &str| Principal::Authenticated(Some(StringMatcher::exact(n, false)));
    assert!(is(named(ID)));
    assert!(!is(named("spiffe://cluster.local/ns/default/sa/other")));
    assert!(is(Principal::Authenticated(None)));
    assert!(is(Principal::SourceIp("10.0.0.1/32".parse().unwrap())));
    assert!(is(Principal::DirectRemoteIp(
        "10.0.0.2/32".parse().unwrap()
    )));
    assert!(is(Principal::RemoteIp("1.2.3.0/24".parse().unwrap())));
    assert!(!is(Principal::RemoteIp("10.0.0.1/32".parse().unwrap())));
    assert!(is(Principal::Not(Box::new(Principal::Any(false)))));
}

#[test]
fn actions() {
    let all = || (Permission::Any(true), Principal::Any(true));
    let (permission, principal) = all();
    assert!(!decide(Action::Deny, permission, principal));
    let (permission, principal) = all();
    assert!(decide(Action::Log, permission, principal));
    assert!(decide(
        Action::Deny,
        Permission::Any(false),
        Principal::Any(true)
    ));
    assert!(!decide(
        Action::Allow,
        Permission::Any(true),
        Principal::Any(false)
    ));
}

#[test]
fn the_first_policy_that_matches_is_named() {
    let policy = |name: &str, any| Policy {
        name: name.into(),
        permissions: vec![Permission::Any(any)],
        principals: vec![Principal::Any(true)],
    };
    let policies = Policies {
        action: Action::Deny,
        policies: vec![
            policy("a", false),
            policy("ns[x y]", true),
            policy("z", true),
        ],
    };
    let connection = connection(None);
    let decision = policies.evaluate(&Input::connection(&connection));
    assert!(!decision.allowed);
    assert_eq!(
        decision.details(),
        "rbac_access_denied_matched_policy[ns[x_y]]"
    );
}

#[test]
fn without_a_request_headers_are_absent() {
    let policies = |matcher| Policies {
        action: Action::Allow,
        policies: vec![Policy {
            name: "p".into(),
            permissions: vec![Permission::Header(matcher)],
            principals: vec![Principal::Authenticated(None)],
        }],
    };
    let peer = connection(Some(ID));
    let allowed = |matcher| {
        policies(matcher)
            .evaluate(&Input::connection(&peer))
            .allowed
    };
    assert!(!allowed(header("x-a", "")));
    let absent = HeaderMatcher {
        rule: HeaderRule::Present(false),
        ..header("x-a", "")
    };
    assert!(allowed(absent));
    let anonymous = connection(None);
    let any = Policies {
        action: Action::Allow,
        policies: vec![Policy {
            name: "p".into(),
            permissions: vec![Permission::Any(true)],
            principals: vec![Principal::Authenticated(None)],
        }],
    };
    assert!(!any.evaluate(&Input::connection(&anonymous)).allowed);
}
