//! `/logging` and `/reopen_logs`.

use axum::extract::{Query, State};
use axum::http::StatusCode;
use serde::Deserialize;

use super::Admin;

#[derive(Deserialize)]
pub(super) struct Parameters {
    level: Option<String>,
}

/// Shows the log filter, or replaces it. Envoy's level names are understood.
pub(super) async fn logging(
    State(admin): State<Admin>,
    Query(parameters): Query<Parameters>,
) -> (StatusCode, String) {
    if let Some(level) = parameters.level {
        let level = match level.as_str() {
            "warning" => "warn",
            "critical" => "error",
            other => other,
        };
        if let Err(error) = admin.log.set_filter(level) {
            return (StatusCode::BAD_REQUEST, format!("{error}\n"));
        }
    }
    (
        StatusCode::OK,
        format!("active loggers:\n  {}\n", admin.log.filter()),
    )
}

pub(super) async fn reopen(State(admin): State<Admin>) -> &'static str {
    admin.logs.reopen();
    "OK\n"
}
