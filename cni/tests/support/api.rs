//! An API server that is a function.

use std::io;
use std::sync::Arc;

use http::{Method, Request, Response};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// A request as a test looks at it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) body: Value,
}

/// What is said to a request; nothing, ever, where it is `None`.
pub(crate) type Answer = Option<(u16, Value)>;

/// A client of a server that says `answer`, and what it is asked to change.
pub(crate) fn serve(
    answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
) -> (Client, mpsc::UnboundedReceiver<Seen>) {
    let (sender, changes) = mpsc::unbounded_channel();
    let answer = Arc::new(answer);
    let service = tower::service_fn(move |request: Request<Body>| {
        let (answer, sender) = (answer.clone(), sender.clone());
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let seen = Seen {
                method: parts.method,
                path: parts.uri.path().to_owned(),
                query: parts.uri.query().unwrap_or_default().to_owned(),
                body: serde_json::from_slice(&body).unwrap_or(Value::Null),
            };
            let said = answer(&seen);
            if seen.method != Method::GET {
                // Not every test looks.
                let _ = sender.send(seen);
            }
            let Some((code, body)) = said else {
                return std::future::pending().await;
            };
            let body = Body::from(serde_json::to_vec(&body).unwrap());
            Ok::<_, io::Error>(Response::builder().status(code).body(body).unwrap())
        }
    });
    (Client::new(service, "default"), changes)
}

/// Says that something is not there, or not allowed, or broken.
pub(crate) fn refuse(code: u16, reason: &str) -> Answer {
    let status = json!({
        "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
        "reason": reason, "code": code, "message": reason,
    });
    Some((code, status))
}

/// Answers about pods of a cluster that has no other than `pod`, and lets everything be changed.
pub(crate) fn pods(pod: Option<&Value>, seen: &Seen) -> Answer {
    if seen.query.contains("watch=true") {
        return None;
    }
    match (pod, seen.path.as_str()) {
        _ if seen.method != Method::GET => Some((200, pod.cloned().unwrap_or(json!({})))),
        (pod, "/api/v1/pods") => {
            let list = json!({
                "apiVersion": "v1", "kind": "PodList",
                "metadata": {"resourceVersion": "1"}, "items": pod.into_iter().collect::<Vec<_>>(),
            });
            Some((200, list))
        }
        (Some(pod), "/api/v1/namespaces/shop/pods/app") => Some((200, pod.clone())),
        _ => refuse(404, "NotFound"),
    }
}
