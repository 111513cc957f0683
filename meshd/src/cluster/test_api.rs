//! A mocked API server for tests: a function answers requests, writes come out of a channel.

use http::{Method, Request, Response, StatusCode};
use kube::client::Body;
use serde_json::Value;
use tokio::sync::mpsc;
use tower_test::mock::Handle;

/// A request as a test looks at it.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) body: Value,
}

impl Seen {
    /// Whether it follows changes.
    pub(crate) fn is_watch(&self) -> bool {
        self.query.contains("watch=true")
    }
}

/// What the server says.
pub(crate) enum Answer {
    /// An object that was asked for.
    Ok(Value),
    /// The outcome of a write, which the test gets to see.
    Write(Value),
    /// An error.
    Status(u16, &'static str, &'static str),
    /// Nothing, for watches without news.
    Never,
}

/// Serves until the client is gone. Writes are sent to the receiver after they were answered.
pub(crate) fn serve(
    mut server: Handle<Request<Body>, Response<Body>>,
    answer: impl Fn(&Seen) -> Answer + Send + 'static,
) -> mpsc::Receiver<Seen> {
    let (writes, receiver) = mpsc::channel(64);
    tokio::spawn(async move {
        // Unanswered requests must not be dropped: that would be an error to the client.
        let mut pending = Vec::new();
        while let Some((request, respond)) = server.next_request().await {
            let (parts, body) = request.into_parts();
            let body = body.collect_bytes().await.unwrap();
            let seen = Seen {
                method: parts.method,
                path: parts.uri.path().to_owned(),
                query: parts.uri.query().unwrap_or_default().to_owned(),
                body: serde_json::from_slice(&body).unwrap_or(Value::Null),
            };
            match answer(&seen) {
                Answer::Ok(object) => respond.send_response(response(200, &object)),
                Answer::Write(object) => {
                    respond.send_response(response(200, &object));
                    if writes.send(seen).await.is_err() {
                        return;
                    }
                }
                Answer::Status(code, reason, message) => {
                    let status = serde_json::json!({
                        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                        "message": message, "reason": reason, "code": code,
                    });
                    respond.send_response(response(code, &status));
                }
                Answer::Never => pending.push(respond),
            }
        }
    });
    receiver
}

fn response(code: u16, body: &Value) -> Response<Body> {
    Response::builder()
        .status(StatusCode::from_u16(code).unwrap())
        .body(Body::from(serde_json::to_vec(body).unwrap()))
        .unwrap()
}
