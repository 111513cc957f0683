//! Stars for each reviewer of a book: fixed, or as they were posted.
//!
//! Versions other than v1 exist to be seen through a mesh: `v-faulty` fails half of the time, `v-delayed`
//! takes seven seconds half of the time. Differs from the original: v2 needs no database, it answers as v1.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, State},
    http::StatusCode,
    routing::get,
};
use serde_json::{Value, json};

const SLOW: Duration = Duration::from_secs(7);

type Answer = (StatusCode, Json<Value>);

#[derive(Debug, Default)]
struct Ratings {
    behaviour: Behaviour,
    requests: AtomicU64,
    posted: Mutex<HashMap<i64, Value>>,
}

#[derive(Debug, Default, Clone, Copy)]
enum Behaviour {
    #[default]
    Normal,
    Faulty,
    Delayed,
}

/// `/ratings/ID` to read and to post, and `/health`.
pub fn router(version: &str) -> Router {
    let behaviour = match version {
        "v-faulty" => Behaviour::Faulty,
        "v-delayed" => Behaviour::Delayed,
        _ => Behaviour::Normal,
    };
    let state = Arc::new(Ratings {
        behaviour,
        ..Ratings::default()
    });
    Router::new()
        .route("/ratings/{id}", get(read).post(post))
        .route(
            "/health",
            get(async || Json(json!({"status": "Ratings is healthy"}))),
        )
        .with_state(state)
}

async fn read(State(ratings): State<Arc<Ratings>>, Path(id): Path<String>) -> Answer {
    let Ok(id) = id.parse::<i64>() else {
        return bad_request("please provide numeric product ID");
    };
    // Every second request rather than a coin: the original's rate, and a test can count on it.
    let every_second = ratings
        .requests
        .fetch_add(1, Ordering::Relaxed)
        .is_multiple_of(2);
    match ratings.behaviour {
        Behaviour::Faulty if every_second => {
            let error = json!({"error": "Service unavailable"});
            return (StatusCode::SERVICE_UNAVAILABLE, Json(error));
        }
        Behaviour::Delayed if every_second => tokio::time::sleep(SLOW).await,
        _ => {}
    }
    (StatusCode::OK, Json(ratings.of(id)))
}

async fn post(State(ratings): State<Arc<Ratings>>, Path(id): Path<String>, body: Bytes) -> Answer {
    let Ok(id) = id.parse::<i64>() else {
        return bad_request("please provide numeric product ID");
    };
    let Ok(stars) = serde_json::from_slice::<Value>(&body) else {
        return bad_request("please provide valid ratings JSON");
    };
    ratings
        .posted
        .lock()
        .expect("no holder of this lock panics")
        .insert(id, stars);
    (StatusCode::OK, Json(ratings.of(id)))
}

impl Ratings {
    fn of(&self, id: i64) -> Value {
        let posted = self.posted.lock().expect("no holder of this lock panics");
        let stars = posted.get(&id).cloned();
        json!({
            "id": id,
            "ratings": stars.unwrap_or_else(|| json!({"Reviewer1": 5, "Reviewer2": 4})),
        })
    }
}

fn bad_request(error: &str) -> Answer {
    (StatusCode::BAD_REQUEST, Json(json!({ "error": error })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn posted_stars_replace_the_fixed_ones_of_that_book() {
        let state = Arc::new(Ratings::default());
        let body = Bytes::from_static(br#"{"Reviewer1": 1}"#);
        let (status, _) = post(State(state.clone()), Path("3".to_owned()), body).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(state.of(3), json!({"id": 3, "ratings": {"Reviewer1": 1}}));
        assert_eq!(
            state.of(4),
            json!({"id": 4, "ratings": {"Reviewer1": 5, "Reviewer2": 4}})
        );
    }

    #[tokio::test]
    async fn the_faulty_version_fails_every_second_request() {
        let state = Arc::new(Ratings {
            behaviour: Behaviour::Faulty,
            ..Ratings::default()
        });
        let mut statuses = Vec::new();
        for _ in 0..4 {
            let (status, _) = read(State(state.clone()), Path("0".to_owned())).await;
            statuses.push(status.as_u16());
        }
        assert_eq!(statuses, [503, 200, 503, 200]);
    }
}
