//! Reviews against a mocked API server.

use http::{Request, Response, StatusCode};
use kube::client::Body;
use serde_json::{Value, json};
use tower_test::mock::{self, Handle};

use super::*;

type Server = Handle<Request<Body>, Response<Body>>;

fn reviewer() -> (TokenReviewer, Server) {
    let (service, server) = mock::pair();
    let client = Client::new(service, "default");
    let clock = Clock::from_fn(|| OffsetDateTime::UNIX_EPOCH + Duration::from_secs(1_000));
    let domain = "cluster.local".parse().unwrap();
    (TokenReviewer::new(client, domain, clock), server)
}

fn token(claims: Value) -> String {
    let claims = URL_SAFE_NO_PAD.encode(claims.to_string());
    format!("e30.{claims}.c2ln")
}

fn good_token() -> String {
    token(json!({"aud": ["istio-ca"], "exp": 2_000}))
}

/// Answers one review with `status`; gives back the review that came.
async fn answer(server: &mut Server, code: StatusCode, body: Value) -> Value {
    let (request, respond) = server.next_request().await.unwrap();
    assert_eq!(
        request.uri().path(),
        "/apis/authentication.k8s.io/v1/tokenreviews"
    );
    let review = request.into_body().collect_bytes().await.unwrap();
    let response = Response::builder().status(code);
    respond.send_response(
        response
            .body(Body::from(serde_json::to_vec(&body).unwrap()))
            .unwrap(),
    );
    serde_json::from_slice(&review).unwrap()
}

fn reviewed(status: Value) -> Value {
    json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
        "metadata": {}, "spec": {}, "status": status,
    })
}

fn accepted(user: &str) -> Value {
    reviewed(json!({
        "authenticated": true, "audiences": ["istio-ca"],
        "user": {"username": user, "extra": {"authentication.kubernetes.io/pod-name": ["cart-1"]}},
    }))
}

async fn verdict(body: Value) -> Result<String, TokenError> {
    let (reviewer, mut server) = reviewer();
    let token = good_token();
    let (verdict, _) = tokio::join!(
        reviewer.verify(&token),
        answer(&mut server, StatusCode::CREATED, body)
    );
    verdict.map(|identity| identity.to_string())
}

#[tokio::test]
async fn an_accepted_token_is_asked_about_once() {
    let (reviewer, mut server) = reviewer();
    let token = good_token();
    let body = accepted("system:serviceaccount:shop:cart");
    let (identity, review) = tokio::join!(
        reviewer.verify(&token),
        answer(&mut server, StatusCode::CREATED, body)
    );
    let identity = identity.unwrap();
    assert_eq!(
        identity.to_string(),
        "spiffe://cluster.local/ns/shop/sa/cart"
    );
    assert_eq!(
        review["spec"],
        json!({"audiences": ["istio-ca"], "token": token})
    );
    // The mock answers nothing more, so this comes from the cache.
    assert_eq!(reviewer.verify(&token).await.unwrap(), identity);
}

#[tokio::test]
async fn what_the_api_server_says_decides() {
    let refused = json!({"authenticated": false, "error": "pod \"cart-1\" not found"});
    assert_eq!(
        verdict(reviewed(refused)).await,
        Err(TokenError::Refused("pod \"cart-1\" not found".to_owned()))
    );
    let unaware = json!({"authenticated": true, "user": {"username": "system:serviceaccount:a:b"}});
    assert_eq!(
        verdict(reviewed(unaware)).await,
        Err(TokenError::Audience("istio-ca".to_owned()))
    );
    assert!(matches!(
        verdict(accepted("system:admin")).await,
        Err(TokenError::Subject(_))
    ));
}

#[tokio::test]
async fn what_can_be_seen_in_the_token_is_refused_without_asking() {
    let (reviewer, _server) = reviewer();
    for (bad, error) in [
        ("abc".to_owned(), TokenError::Malformed),
        (
            token(json!({"aud": "istio-ca", "exp": 1_000})),
            TokenError::Expired,
        ),
        (
            token(json!({"aud": ["https://kubernetes.default.svc"], "exp": 2_000})),
            TokenError::Audience("istio-ca".to_owned()),
        ),
        (
            token(json!({"exp": 2_000})),
            TokenError::Audience("istio-ca".to_owned()),
        ),
    ] {
        assert_eq!(reviewer.verify(&bad).await, Err(error), "{bad}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_is_away_or_silent_means_unavailable() {
    let (reviewer, mut server) = reviewer();
    let token = good_token();
    let failure = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure",
        "message": "etcd has no leader", "reason": "InternalError", "code": 500,
    });
    let (verdict, _) = tokio::join!(
        reviewer.verify(&token),
        answer(&mut server, StatusCode::INTERNAL_SERVER_ERROR, failure)
    );
    assert_eq!(
        verdict,
        Err(TokenError::Unavailable("etcd has no leader".to_owned()))
    );
    let silence = reviewer.verify(&token).await.unwrap_err();
    assert!(silence.is_temporary());
    assert_eq!(
        silence.to_string(),
        "the API server cannot be asked about the token: no answer within 5 s"
    );
}
