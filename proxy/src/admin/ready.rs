//! `/ready`: as Envoy's, with the reason when it is not.

use axum::extract::State;
use axum::http::StatusCode;

use super::Admin;
use crate::worker::Stage;

pub(super) async fn ready(State(admin): State<Admin>) -> (StatusCode, String) {
    if *admin.stage.borrow() != Stage::Serving {
        return (StatusCode::SERVICE_UNAVAILABLE, "DRAINING\n".to_owned());
    }
    if admin.readiness.is_ready() {
        return (StatusCode::OK, "LIVE\n".to_owned());
    }
    let warming = admin.status.warming();
    let mut text = "INITIALIZING\n".to_owned();
    for name in warming {
        text.push_str("warming: ");
        text.push_str(&name);
        text.push('\n');
    }
    (StatusCode::SERVICE_UNAVAILABLE, text)
}
