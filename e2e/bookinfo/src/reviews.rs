//! Two reviews of a book; from v2 on with stars that ratings gives.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    routing::get,
};
use serde_json::{Value, json};

use crate::{forward_headers::forward_headers, upstream::Upstream};

const REVIEWS: [(&str, &str); 2] = [
    (
        "Reviewer1",
        "Twins, mistaken twins and twice the laughter: a delight from the first scene to the last.",
    ),
    (
        "Reviewer2",
        "Great fun on stage, though his later comedies go deeper than this early one.",
    ),
];

/// How reviews present themselves; their version decides it.
#[derive(Debug, Clone)]
pub struct Reviews {
    /// Where stars come from; none in v1.
    pub ratings: Option<Upstream>,
    /// "black" or "red".
    pub star_color: String,
    /// The pod that answers.
    pub pod_name: String,
    /// The cluster of that pod, where known.
    pub cluster_name: Option<String>,
}

/// `/reviews/ID` and `/health`.
pub fn router(reviews: Reviews) -> Router {
    Router::new()
        .route("/reviews/{id}", get(read))
        .route(
            "/health",
            get(async || Json(json!({"status": "Reviews is healthy"}))),
        )
        .with_state(Arc::new(reviews))
}

async fn read(
    State(reviews): State<Arc<Reviews>>,
    Path(id): Path<i64>,
    headers: HeaderMap,
) -> Json<Value> {
    let stars = match &reviews.ratings {
        Some(ratings) => Some(reviews.stars(ratings, id, &headers).await),
        None => None,
    };
    Json(reviews.answer(id, stars.as_ref()))
}

impl Reviews {
    /// The `ratings` object of the answer, or null where there was none.
    async fn stars(&self, ratings: &Upstream, id: i64, headers: &HeaderMap) -> Value {
        let path = format!("/ratings/{id}");
        let answer = ratings
            .get(&path, forward_headers(headers), self.ratings_timeout())
            .await;
        match answer {
            Ok(answer) if answer.status == StatusCode::OK => {
                let body = serde_json::from_slice::<Value>(&answer.body).unwrap_or_default();
                body["ratings"].clone()
            }
            _ => Value::Null,
        }
    }

    /// Ten seconds with black stars, two and a half with red ones: with a delay of seven seconds before
    /// ratings, v2 outlasts the page's patience and v3 does not.
    fn ratings_timeout(&self) -> Duration {
        match self.star_color.as_str() {
            "black" => Duration::from_secs(10),
            _ => Duration::from_millis(2500),
        }
    }

    /// `stars` is absent in v1 and null where ratings gave none.
    fn answer(&self, id: i64, stars: Option<&Value>) -> Value {
        let reviews: Vec<Value> = REVIEWS
            .iter()
            .map(|(reviewer, text)| {
                let mut review = json!({"reviewer": reviewer, "text": text});
                if let Some(stars) = stars {
                    review["rating"] = self.rating(&stars[reviewer]);
                }
                review
            })
            .collect();
        json!({
            "id": id.to_string(),
            "podname": self.pod_name,
            // The original prints an absent name as this word, and the page looks for it.
            "clustername": self.cluster_name.as_deref().unwrap_or("null"),
            "reviews": reviews,
        })
    }

    fn rating(&self, stars: &Value) -> Value {
        match stars.as_i64() {
            Some(stars) => json!({"stars": stars, "color": self.star_color}),
            None => json!({"error": "Ratings service is currently unavailable"}),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reviews() -> Reviews {
        Reviews {
            ratings: None,
            star_color: "red".to_owned(),
            pod_name: "reviews-v3-1".to_owned(),
            cluster_name: None,
        }
    }

    #[test]
    fn stars_are_shown_missing_or_an_error() {
        let rating = |stars: Option<&Value>| {
            reviews().answer(0, stars)["reviews"][1]
                .get("rating")
                .cloned()
        };
        assert_eq!(rating(None), None);
        assert_eq!(
            rating(Some(&json!({"Reviewer2": 4}))),
            Some(json!({"stars": 4, "color": "red"}))
        );
        assert_eq!(
            rating(Some(&Value::Null)),
            Some(json!({"error": "Ratings service is currently unavailable"}))
        );
    }

    #[test]
    fn the_answer_names_pod_and_cluster() {
        let answer = reviews().answer(0, None);
        assert_eq!(
            (&answer["id"], &answer["podname"], &answer["clustername"]),
            (&json!("0"), &json!("reviews-v3-1"), &json!("null"))
        );
    }
}
