//! Requests to the server and answers of it.

use std::collections::BTreeMap;
use std::convert::Infallible;

use bytes::Bytes;
use http::Response;
use http_body_util::channel::Channel;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// The body of an answer.
pub(crate) type Reply = UnsyncBoxBody<Bytes, Infallible>;

/// A request, taken apart.
pub(crate) struct Asked {
    pub(crate) resource: String,
    pub(crate) namespace: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) query: BTreeMap<String, String>,
}

impl Asked {
    pub(crate) fn new(uri: &http::Uri) -> Self {
        let mut path = uri.path().trim_matches('/').split('/').map(str::to_owned);
        // `api/VERSION` or `apis/GROUP/VERSION` goes before.
        let skipped = if uri.path().starts_with("/apis/") {
            3
        } else {
            2
        };
        let rest: Vec<String> = path.by_ref().skip(skipped).collect();
        let pairs = uri.query().unwrap_or_default().split('&');
        let pairs = pairs.filter_map(|pair| pair.split_once('='));
        let inside = rest.len() > 2 && rest[0] == "namespaces";
        let place = if inside { 2 } else { 0 };
        Self {
            resource: rest[place].clone(),
            namespace: inside.then(|| rest[1].clone()),
            name: rest.get(place + 1).cloned(),
            query: pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
        }
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        self.query.get(name).is_some_and(|value| value == "true")
    }
}

pub(crate) fn status(code: u16, reason: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": reason})
}

fn text(value: &Value) -> Reply {
    Full::from(value.to_string().into_bytes()).boxed_unsync()
}

pub(crate) fn answer(value: &Value) -> Response<Reply> {
    Response::new(text(value))
}

pub(crate) fn refusal(code: u16, reason: &str) -> Response<Reply> {
    let body = text(&status(code, reason));
    Response::builder().status(code).body(body).unwrap()
}

pub(crate) fn stream(mut events: mpsc::UnboundedReceiver<Value>) -> Response<Reply> {
    let (mut sender, body) = Channel::<Bytes, Infallible>::new(16);
    tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            if sender.send_data(format!("{event}\n").into()).await.is_err() {
                break;
            }
        }
    });
    Response::new(body.boxed_unsync())
}
