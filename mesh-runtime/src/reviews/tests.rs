//! Bodies and deadlines; the whole of it is driven over sockets in meshd's tests.

use super::*;

fn post(uri: &str, body: impl Into<Body>) -> Request {
    Request::post(uri).body(body.into()).unwrap()
}

fn reviews() -> (Reviews, Registry) {
    let mut registry = Registry::default();
    let reviews = Reviews::start(&mut registry).unwrap();
    (reviews, registry)
}

async fn status(reviews: &Reviews, request: Request) -> u16 {
    let answer = reviews.answer("test", request, |body| {
        body.len().to_string().into_response()
    });
    answer.await.status().as_u16()
}

#[tokio::test]
async fn a_review_is_made_on_the_pool_and_counted() {
    let (reviews, registry) = reviews();
    let thread = |_: &[u8]| {
        let name = std::thread::current().name().unwrap_or_default().to_owned();
        name.into_response()
    };
    let response = reviews.answer("test", post("/", "{}"), thread).await;
    let name = response.into_body().collect().await.unwrap().to_bytes();
    assert!(name.starts_with(b"review-"), "{name:?}");
    let text = crate::metrics::encode(&registry);
    let expected = "weft_webhook_reviews_total{webhook=\"test\",outcome=\"answered\"} 1\n";
    assert!(text.contains(expected), "{text}");
    assert!(text.contains("weft_webhook_review_seconds_count{webhook=\"test\"} 1\n"));
    assert!(text.contains("weft_webhook_review_cpu_seconds_count{webhook=\"test\"} 1\n"));
    assert_eq!(reviews.bodies.total(), 0);
}

#[tokio::test]
async fn bodies_are_bounded_in_bytes_and_values() {
    let (reviews, registry) = reviews();
    let fits = "x".repeat(BODY_BYTES_MAX);
    assert_eq!(status(&reviews, post("/", fits.clone())).await, 200);
    assert_eq!(status(&reviews, post("/", fits + "x")).await, 413);
    let list = |values: usize| format!("[{}0]", "0,".repeat(values - 1));
    assert_eq!(status(&reviews, post("/", list(VALUES_MAX))).await, 200);
    assert_eq!(status(&reviews, post("/", list(VALUES_MAX + 1))).await, 413);
    let text = format!(r#"["{}\"{}"]"#, ",".repeat(VALUES_MAX), "[".repeat(9));
    assert_eq!(status(&reviews, post("/", text)).await, 200);
    let counted = crate::metrics::encode(&registry);
    assert!(counted.contains("outcome=\"too_large\"} 2\n"), "{counted}");
}

#[tokio::test]
async fn bodies_are_bounded_together() {
    let (reviews, _) = reviews();
    let mut others = reviews.bodies.open(Ipv4Addr::UNSPECIFIED.into());
    assert!(others.grow(CALLER_BYTES_MAX - 10));
    assert_eq!(status(&reviews, post("/", "x".repeat(11))).await, 503);
    drop(others);
    assert_eq!(status(&reviews, post("/", "x".repeat(11))).await, 200);
}

#[tokio::test]
async fn a_failure_is_an_error() {
    let (reviews, _) = reviews();
    let failing = |_: &[u8]| panic!("broken invariant");
    let response = reviews.answer("test", post("/", "{}"), failing).await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
}

#[test]
fn the_callers_timeout_counts_up_to_ours() {
    let deadline = |uri: &str| deadline(&uri.parse().unwrap());
    assert_eq!(deadline("/validate"), Duration::from_secs(9));
    assert_eq!(deadline("/validate?timeout=1s"), Duration::from_millis(900));
    assert_eq!(
        deadline("/validate?a=b&timeout=30s"),
        Duration::from_secs(9)
    );
    assert_eq!(deadline("/validate?timeout=soon"), Duration::from_secs(9));
}
