//! The most used paths of httpbin, with its JSON shapes.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Context;
use axum::{
    Json, Router,
    body::Body,
    extract::{Path, Query, Request},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{any, get},
};
use bytes::Bytes;
use clap::Args;
use http_body_util::{BodyExt, Limited};
use serde_json::{Value, json};

use crate::serve;

/// The largest body that is shown, and the largest that `/bytes` makes.
const BODY_BYTES_MAX: usize = 10 * 1024 * 1024;
const DELAY_MAX: Duration = Duration::from_secs(10);

/// Where to listen.
#[derive(Debug, Clone, Args)]
pub struct HttpbinArgs {
    /// The port.
    #[arg(long, env = "PORT", default_value_t = 8080)]
    pub port: u16,
}

/// Serves until told to end.
pub async fn run(args: &HttpbinArgs) -> anyhow::Result<()> {
    let listener = serve::listen(args.port).await?;
    axum::serve(listener, router())
        .with_graceful_shutdown(serve::end_signal()?)
        .await
        .context("cannot serve")
}

/// All paths.
pub fn router() -> Router {
    Router::new()
        .route("/", get(async || "httpbin"))
        .route("/get", get(show))
        .route("/post", axum::routing::post(show))
        .route("/put", axum::routing::put(show))
        .route("/patch", axum::routing::patch(show))
        .route("/delete", axum::routing::delete(show))
        .route("/anything", any(show))
        .route("/anything/{*rest}", any(show))
        .route("/headers", get(headers))
        .route("/user-agent", get(user_agent))
        .route("/ip", get(headers))
        .route("/uuid", get(uuid))
        .route("/status/{codes}", any(status))
        .route("/delay/{seconds}", any(delay))
        .route("/bytes/{count}", get(random_bytes))
        .route("/redirect-to", any(redirect_to))
        .route("/response-headers", any(response_headers))
}

async fn show(request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = Limited::new(body, BODY_BYTES_MAX).collect().await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let data = String::from_utf8_lossy(&body.to_bytes()).into_owned();
    let host = parts.headers.get(header::HOST);
    let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let args = Query::<BTreeMap<String, String>>::try_from_uri(&parts.uri);
    let args: BTreeMap<_, _> = args
        .map(|Query(args)| args)
        .unwrap_or_default()
        .into_iter()
        .map(|(name, value)| (name, vec![value]))
        .collect();
    Json(json!({
        "args": args,
        "headers": header_lists(&parts.headers),
        "method": parts.method.as_str(),
        "url": format!("http://{host}{path}"),
        "json": serde_json::from_str::<Value>(&data).unwrap_or_default(),
        "data": data,
    }))
    .into_response()
}

async fn headers(headers: HeaderMap) -> Json<Value> {
    Json(json!({"headers": header_lists(&headers)}))
}

async fn user_agent(headers: HeaderMap) -> Json<Value> {
    let agent = headers.get(header::USER_AGENT);
    Json(json!({"user-agent": agent.and_then(|agent| agent.to_str().ok())}))
}

async fn uuid() -> Json<Value> {
    // Version 4, variant 10.
    let bits = (fastrand::u128(..) & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    let uuid = [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ]
    .join("-");
    Json(json!({ "uuid": uuid }))
}

/// One code, or several separated by commas of which one is drawn.
async fn status(Path(codes): Path<String>) -> Response {
    let codes: Option<Vec<StatusCode>> = codes
        .split(',')
        .map(|code| code.parse::<u16>().ok())
        .map(|code| StatusCode::from_u16(code?).ok())
        .collect();
    match codes.and_then(fastrand::choice) {
        Some(code) => code.into_response(),
        None => (StatusCode::BAD_REQUEST, "invalid status code\n").into_response(),
    }
}

async fn delay(Path(seconds): Path<f64>, request: Request) -> Response {
    let Ok(delay) = Duration::try_from_secs_f64(seconds) else {
        return (StatusCode::BAD_REQUEST, "invalid duration\n").into_response();
    };
    tokio::time::sleep(delay.min(DELAY_MAX)).await;
    show(request).await
}

async fn random_bytes(Path(count): Path<usize>) -> Response {
    if count > BODY_BYTES_MAX {
        return (StatusCode::BAD_REQUEST, "too many bytes\n").into_response();
    }
    let bytes: Bytes = std::iter::repeat_with(|| fastrand::u8(..))
        .take(count)
        .collect();
    (
        [(header::CONTENT_TYPE, "application/octet-stream")],
        Body::from(bytes),
    )
        .into_response()
}

async fn redirect_to(Query(args): Query<BTreeMap<String, String>>) -> Response {
    let status = args
        .get("status_code")
        .and_then(|code| code.parse().ok())
        .and_then(|code| StatusCode::from_u16(code).ok())
        .unwrap_or(StatusCode::FOUND);
    match args.get("url") {
        Some(url) => (status, [(header::LOCATION, url.clone())]).into_response(),
        None => (StatusCode::BAD_REQUEST, "missing url\n").into_response(),
    }
}

async fn response_headers(Query(args): Query<BTreeMap<String, String>>) -> Response {
    let mut response = Json(&args).into_response();
    for (name, value) in &args {
        if let (Ok(name), Ok(value)) = (name.parse::<http::HeaderName>(), value.parse()) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// Each header with the list of its values, under its canonical name, as go-httpbin shows them.
fn header_lists(headers: &HeaderMap) -> BTreeMap<String, Vec<String>> {
    let mut lists = BTreeMap::<String, Vec<String>>::new();
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        lists
            .entry(canonical(name.as_str()))
            .or_default()
            .push(value);
    }
    lists
}

fn canonical(name: &str) -> String {
    let mut start = true;
    name.chars()
        .map(|letter| {
            let shown = if start {
                letter.to_ascii_uppercase()
            } else {
                letter
            };
            start = letter == '-';
            shown
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_names_are_shown_in_canonical_case() {
        assert_eq!(
            canonical("x-forwarded-client-cert"),
            "X-Forwarded-Client-Cert"
        );
    }

    #[tokio::test]
    async fn a_status_is_answered_or_refused() {
        let status_of = async |codes: &str| status(Path(codes.to_owned())).await.status().as_u16();
        assert_eq!(status_of("418").await, 418);
        assert_eq!(status_of("503,503").await, 503);
        assert_eq!(status_of("abc").await, 400);
    }
}
