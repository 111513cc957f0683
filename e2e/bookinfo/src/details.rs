//! Facts about a book, the same for every id.
//!
//! Differs from the original: v2 does not ask an outside book service, it answers as v1 does.

use axum::{
    Json, Router,
    extract::Path,
    http::StatusCode,
    routing::{any, get},
};
use serde_json::{Value, json};

/// `/details/ID` and `/health`.
pub fn router() -> Router {
    Router::new().route("/details/{id}", any(details)).route(
        "/health",
        get(async || Json(json!({"status": "Details is healthy"}))),
    )
}

async fn details(Path(id): Path<String>) -> (StatusCode, Json<Value>) {
    let Ok(id) = id.parse::<i64>() else {
        let error = json!({"error": "please provide numeric product id"});
        return (StatusCode::BAD_REQUEST, Json(error));
    };
    let book = json!({
        "id": id,
        "author": "William Shakespeare",
        "year": 1595,
        "type": "paperback",
        "pages": 200,
        "publisher": "PublisherA",
        "language": "English",
        "ISBN-10": "1234567890",
        "ISBN-13": "123-1234567890",
    });
    (StatusCode::OK, Json(book))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_id_must_be_a_number() {
        let (status, Json(body)) = details(Path("x".to_owned())).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert_eq!(body, json!({"error": "please provide numeric product id"}));
        let (status, Json(body)) = details(Path("7".to_owned())).await;
        assert_eq!((status, &body["id"]), (StatusCode::OK, &json!(7)));
    }
}
