//! The page over real sockets, with neighbours that this test runs.

use axum::{body::Body, extract::Request};
use http_body_util::BodyExt;
use tokio::net::TcpListener;
use tower::ServiceExt;

use super::*;
use crate::{details, ratings, reviews, reviews::Reviews};

async fn start(router: Router) -> Upstream {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    Upstream::new("127.0.0.1".to_owned(), port)
}

/// A port nothing listens on.
async fn nothing() -> Upstream {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    Upstream::new(
        "127.0.0.1".to_owned(),
        listener.local_addr().unwrap().port(),
    )
}

async fn shop() -> Neighbours {
    let ratings = start(ratings::router("v1")).await;
    let reviews = Reviews {
        ratings: Some(ratings.clone()),
        star_color: "red".to_owned(),
        pod_name: "reviews-v3-0".to_owned(),
        cluster_name: None,
    };
    Neighbours {
        details: start(details::router()).await,
        reviews: start(reviews::router(reviews)).await,
        ratings,
    }
}

async fn call(router: Router, request: Request) -> (StatusCode, HeaderMap, String) {
    let (parts, body) = router.oneshot(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let body = String::from_utf8(body.to_vec()).unwrap();
    (parts.status, parts.headers, body)
}

fn get_request(path: &str) -> Request {
    Request::get(path).body(Body::empty()).unwrap()
}

#[tokio::test]
async fn the_page_shows_details_and_red_stars() {
    let (status, _, page) = call(router(shop().await), get_request("/productpage")).await;
    assert_eq!(status, StatusCode::OK);
    for part in [
        "Book Details",
        "PublisherA",
        "Reviews served by: reviews-v3-0",
    ] {
        assert!(page.contains(part), "{part} is missing in {page}");
    }
    assert_eq!(page.matches("text-red-500").count(), 2);
    assert_eq!(page.matches("glyphicon-star\"").count(), 9);
}

#[tokio::test]
async fn neighbours_that_fail_are_apologised_for() {
    let neighbours = Neighbours {
        details: nothing().await,
        reviews: nothing().await,
        ratings: nothing().await,
    };
    let (status, _, page) = call(router(neighbours), get_request("/productpage")).await;
    assert_eq!(status, StatusCode::OK);
    for part in [
        "Error fetching product details",
        "Sorry, product details are currently unavailable for this book.",
        "Sorry, product reviews are currently unavailable for this book.",
    ] {
        assert!(page.contains(part), "{part} is missing in {page}");
    }
}

#[tokio::test]
async fn the_api_passes_a_neighbours_status_on() {
    let mut neighbours = shop().await;
    neighbours.details = start(Router::new().fallback(async || StatusCode::IM_A_TEAPOT)).await;
    let app = router(neighbours);
    let (status, _, _) = call(app.clone(), get_request("/api/v1/products/0")).await;
    assert_eq!(status, StatusCode::IM_A_TEAPOT);
    let (status, _, body) = call(app, get_request("/api/v1/products/0/ratings")).await;
    assert_eq!(
        (status, body.as_str()),
        (
            StatusCode::OK,
            r#"{"id":0,"ratings":{"Reviewer1":5,"Reviewer2":4}}"#
        )
    );
}

#[tokio::test]
async fn who_signs_in_is_named_to_the_neighbours() {
    let mut neighbours = shop().await;
    let show_user = async |headers: HeaderMap| {
        let user = headers.get(END_USER).map(|user| user.to_str().unwrap());
        Json(json!({ "user": user }))
    };
    neighbours.reviews = start(Router::new().fallback(show_user)).await;
    let app = router(neighbours);
    let sign_in = Request::post("/login")
        .header(header::REFERER, "http://shop/productpage")
        .body(Body::from("username=jason&passwd="))
        .unwrap();
    let (status, headers, _) = call(app.clone(), sign_in).await;
    assert_eq!(
        (status, headers[header::LOCATION].to_str().unwrap()),
        (StatusCode::FOUND, "http://shop/productpage")
    );
    let cookie = headers[header::SET_COOKIE].to_str().unwrap();
    let request = Request::get("/api/v1/products/0/reviews")
        .header(header::COOKIE, cookie.split(';').next().unwrap())
        .header(END_USER, "mallory")
        .body(Body::empty())
        .unwrap();
    let (_, _, body) = call(app.clone(), request).await;
    assert_eq!(body, r#"{"user":"jason"}"#);
    let request = Request::get("/api/v1/products/0/reviews")
        .header(END_USER, "mallory")
        .body(Body::empty())
        .unwrap();
    assert_eq!(call(app, request).await.2, r#"{"user":null}"#);
}

#[tokio::test]
async fn answers_are_counted_by_neighbour_and_status() {
    let app = router(shop().await);
    call(app.clone(), get_request("/productpage")).await;
    let (_, _, text) = call(app, get_request("/metrics")).await;
    assert!(
        text.contains(
            "request_result_total{destination_app=\"reviews\",response_code=\"200\"} 1\n"
        )
    );
}
