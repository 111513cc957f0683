use axum::body::Body;
use axum::routing::get;
use axum::{Extension, Router};
use citadel::Clock;
use citadel::authenticate::Tokens;
use std::net::SocketAddr;
use tower::ServiceExt as _;

use super::*;

/// A page that says what its reader may see.
fn pages() -> Router {
    let domain = "cluster.local".parse().unwrap();
    let access = Access {
        authenticator: Authenticator::new(domain, Tokens::Refused, Clock::system()),
        namespace: "istio-system".into(),
    };
    Router::new()
        .route(
            "/debug/page",
            get(|Extension(scope): Extension<Scope>| async move { format!("{scope:?}") }),
        )
        .route_layer(axum::middleware::from_fn_with_state(access, scoped))
}

async fn ask(peer: Option<&str>, headers: &[(&str, &str)]) -> (u16, Option<HeaderValue>, String) {
    let mut request = http::Request::get("/debug/page")
        .body(Body::empty())
        .unwrap();
    if let Some(peer) = peer {
        let peer: SocketAddr = peer.parse().unwrap();
        request.extensions_mut().insert(peer);
    }
    for (name, value) in headers {
        let name: http::HeaderName = name.parse().unwrap();
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let response = pages().oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    let body = axum::body::to_bytes(body, 1 << 16).await.unwrap();
    (
        head.status.as_u16(),
        head.headers.get(WWW_AUTHENTICATE).cloned(),
        String::from_utf8(body.to_vec()).unwrap(),
    )
}

#[tokio::test]
async fn this_machine_sees_everything_without_a_token() {
    for peer in ["127.0.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
        let expected = (200, None, "Mesh".to_owned());
        assert_eq!(ask(Some(peer), &[]).await, expected, "{peer}");
        // A token that is bad is not looked at.
        let bad = [("authorization", "Bearer x")];
        assert_eq!(ask(Some(peer), &bad).await, expected, "{peer}");
    }
}

#[tokio::test]
async fn others_prove_who_they_are_whatever_headers_say() {
    let peers = [
        Some("10.0.0.1:1"),
        Some("[::ffff:10.0.0.1]:1"),
        Some("[fd00::1]:1"),
        Some("127.0.0.6:1"),
        None,
    ];
    for peer in peers {
        for headers in [
            &[][..],
            &[
                ("x-forwarded-for", "127.0.0.1"),
                ("forwarded", "for=127.0.0.1"),
            ],
            &[("host", "localhost:15014")],
            &[("authorization", "Basic eDp4")],
            &[("authorization", "Bearer secret-token")],
        ] {
            let (status, scheme, body) = ask(peer, headers).await;
            assert_eq!(status, 401, "{peer:?} {headers:?}");
            assert_eq!(scheme, Some(HeaderValue::from_static("Bearer")));
            assert!(!body.contains("secret-token"), "{body}");
        }
    }
}
