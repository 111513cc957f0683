//! The page that customers see, and the API beside it.

mod page;
mod results;
mod session;

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, RawQuery, State},
    http::{HeaderMap, HeaderName, StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};

use self::results::Results;
use crate::{forward_headers::forward_headers, upstream::Upstream};

const TIMEOUT: Duration = Duration::from_secs(3);
/// Reviews are asked twice where the others are asked once: the deliberate slip of the original that makes
/// the page give up after six seconds, one before a delay of seven before ratings ends.
const REVIEWS_ATTEMPTS: usize = 2;
const END_USER: HeaderName = HeaderName::from_static("end-user");
const STYLE: &str = include_str!("productpage/style.css");

/// The services behind the page.
#[derive(Debug, Clone)]
pub struct Neighbours {
    /// Facts about a book.
    pub details: Upstream,
    /// Its reviews.
    pub reviews: Upstream,
    /// Its stars, for the API only: the page has them from reviews.
    pub ratings: Upstream,
}

#[derive(Debug)]
struct Productpage {
    neighbours: Neighbours,
    results: Results,
}

type Page = State<Arc<Productpage>>;

/// The page, the session, the API, static files, metrics and health.
pub fn router(neighbours: Neighbours) -> Router {
    let state = Arc::new(Productpage {
        neighbours,
        results: Results::default(),
    });
    let index = || async { Html(page::index()) };
    Router::new()
        .route("/", get(index))
        .route("/index.html", get(index))
        .route("/productpage", get(productpage))
        .route("/login", post(login))
        .route("/logout", get(logout))
        .route("/health", get(async || "Product page is healthy"))
        .route("/metrics", get(metrics))
        .route("/static/{*path}", get(static_file))
        .route("/api/v1/products", get(async || Json(page::products())))
        .route("/api/v1/products/{id}", get(product))
        .route("/api/v1/products/{id}/reviews", get(product_reviews))
        .route("/api/v1/products/{id}/ratings", get(product_ratings))
        .with_state(state)
}

async fn productpage(State(state): Page, headers: HeaderMap) -> Html<String> {
    let details = state.details("0", &headers).await;
    let reviews = state.reviews("0", &headers).await;
    let user = session::user(&headers);
    Html(page::productpage(user.as_deref(), &details, &reviews))
}

async fn login(RawQuery(query): RawQuery, headers: HeaderMap, body: Bytes) -> Response {
    let form = String::from_utf8_lossy(&body);
    let user = session::form_value(&form, "username")
        .or_else(|| session::form_value(query.as_deref().unwrap_or_default(), "username"));
    back(&headers, session::set(user.as_deref().unwrap_or_default()))
}

async fn logout(headers: HeaderMap) -> Response {
    back(&headers, session::clear())
}

/// Redirects to where the request came from.
fn back(headers: &HeaderMap, cookie: String) -> Response {
    let to = headers
        .get(header::REFERER)
        .and_then(|referer| referer.to_str().ok())
        .unwrap_or("/productpage");
    let fields = [
        (header::LOCATION, to.to_owned()),
        (header::SET_COOKIE, cookie),
    ];
    (StatusCode::FOUND, fields).into_response()
}

async fn metrics(State(state): Page) -> ([(HeaderName, &'static str); 1], String) {
    let text = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    (text, state.results.render())
}

async fn static_file(Path(path): Path<String>) -> Response {
    match path.as_str() {
        "style.css" | "tailwind/tailwind.css" => {
            ([(header::CONTENT_TYPE, "text/css")], STYLE).into_response()
        }
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn product(State(state): Page, Path(id): Path<String>, headers: HeaderMap) -> Found {
    state.details(&id, &headers).await
}

async fn product_reviews(State(state): Page, Path(id): Path<String>, headers: HeaderMap) -> Found {
    state.reviews(&id, &headers).await
}

async fn product_ratings(State(state): Page, Path(id): Path<String>, headers: HeaderMap) -> Found {
    state.ratings(&id, &headers).await
}

/// What a neighbour answered, or an error object with the status to show.
#[derive(Debug, Clone, PartialEq)]
struct Found {
    status: StatusCode,
    body: Value,
}

impl IntoResponse for Found {
    fn into_response(self) -> Response {
        (self.status, Json(self.body)).into_response()
    }
}

impl Productpage {
    async fn details(&self, id: &str, headers: &HeaderMap) -> Found {
        let upstream = &self.neighbours.details;
        self.ask("details", upstream, id, headers, 1).await
    }

    async fn reviews(&self, id: &str, headers: &HeaderMap) -> Found {
        let upstream = &self.neighbours.reviews;
        self.ask("reviews", upstream, id, headers, REVIEWS_ATTEMPTS)
            .await
    }

    async fn ratings(&self, id: &str, headers: &HeaderMap) -> Found {
        let upstream = &self.neighbours.ratings;
        self.ask("ratings", upstream, id, headers, 1).await
    }

    async fn ask(
        &self,
        name: &'static str,
        upstream: &Upstream,
        id: &str,
        headers: &HeaderMap,
        attempts: usize,
    ) -> Found {
        let path = format!("/{name}/{id}");
        let mut status = StatusCode::INTERNAL_SERVER_ERROR;
        for _ in 0..attempts {
            let answer = upstream.get(&path, outgoing(headers), TIMEOUT).await;
            status = answer
                .as_ref()
                .map_or(StatusCode::INTERNAL_SERVER_ERROR, |answer| answer.status);
            let body = answer
                .ok()
                .and_then(|a| serde_json::from_slice(&a.body).ok());
            if let (StatusCode::OK, Some(body)) = (status, body) {
                self.results.count(name, status);
                return Found { status, body };
            }
        }
        self.results.count(name, status);
        let error = format!("Sorry, product {name} are currently unavailable for this book.");
        Found {
            status: if status == StatusCode::OK {
                StatusCode::INTERNAL_SERVER_ERROR
            } else {
                status
            },
            body: json!({ "error": error }),
        }
    }
}

/// The headers of a call to a neighbour: what is forwarded, and who is signed in.
fn outgoing(incoming: &HeaderMap) -> HeaderMap {
    let mut headers = forward_headers(incoming);
    // The page alone says who the user is; a header from outside does not count.
    headers.remove(END_USER);
    if let Some(user) = session::user(incoming).and_then(|user| user.parse().ok()) {
        headers.insert(END_USER, user);
    }
    headers
}

#[cfg(test)]
mod tests;
