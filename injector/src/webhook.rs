//! The mutating admission webhook: an AdmissionReview in, a JSON patch out.
//!
//! `POST /inject`, and `/inject/cluster/ID/net/NETWORK` for clusters that share a control plane. The review
//! is read as plain JSON with only the fields that are needed, so a newer API server's additions do no harm.
//! A pod that cannot be injected as its author asked is refused: it would run outside the mesh otherwise.

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::StatusCode;
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use crate::config::InjectorConfig;
use crate::inject::{InjectError, Injection, inject_pod};
use crate::json::text;
use crate::metrics::Metrics;
use crate::patch;
use crate::policy::Namespace;

/// Largest accepted review: etcd's limit for an object, twice (new and old), with room for the envelope.
const REVIEW_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Gives the settings in force at the moment of a request.
pub type Settings = Arc<dyn Fn() -> InjectorConfig + Send + Sync>;

/// The webhook.
#[derive(Clone)]
pub struct Webhook {
    settings: Settings,
    metrics: Metrics,
}

impl Webhook {
    /// A webhook under these settings.
    pub fn new(settings: Settings, metrics: Metrics) -> Self {
        Self { settings, metrics }
    }

    /// Its routes.
    pub fn router(self) -> axum::Router {
        axum::Router::new()
            .route("/inject", post(inject))
            .route("/inject/{*settings}", post(inject_with_settings))
            .layer(DefaultBodyLimit::max(REVIEW_BYTES_MAX))
            .with_state(self)
    }

    /// Answers one review; `settings` is the rest of the path.
    pub fn review(&self, review: &Value, settings: &str) -> Result<Value, ReviewError> {
        let started = Instant::now();
        self.metrics.requests.inc();
        let request = Request::parse(review).inspect_err(|_| {
            self.metrics.failure.inc();
        })?;
        let answer = match self.answer(&request, settings) {
            Ok(injection) => self.allow(&request, &injection),
            Err(error) => self.deny(&request, &error),
        };
        self.metrics
            .seconds
            .observe(started.elapsed().as_secs_f64());
        Ok(serde_json::json!({
            "apiVersion": text(review, "apiVersion").unwrap_or("admission.k8s.io/v1"),
            "kind": "AdmissionReview",
            "response": answer,
        }))
    }

    fn answer(&self, request: &Request, settings: &str) -> Result<Injection, InjectError> {
        let config = with_settings((self.settings)(), settings);
        // The selectors of the webhook have seen the namespace's labels; we may know older ones.
        let namespace = Namespace {
            name: request.namespace.clone(),
            labels: None,
        };
        inject_pod(&request.object, &namespace, &config)
    }

    fn allow(&self, request: &Request, injection: &Injection) -> Response {
        let pod = pod_name(&request.object);
        tracing::info!(
            namespace = request.namespace,
            pod,
            injected = injection.decision.is_inject(),
            reason = %injection.decision.reason(),
            "pod reviewed"
        );
        let mut response = Response::new(&request.uid, true);
        response.warnings.clone_from(&injection.warnings);
        if !injection.decision.is_inject() {
            self.metrics.skip.inc();
            return response;
        }
        self.metrics.success.inc();
        let patch = patch::between(&request.object, &injection.pod);
        let patch = serde_json::to_vec(&patch).expect("a patch is plain JSON");
        response.patch = Some(STANDARD.encode(patch));
        response.patch_type = Some("JSONPatch");
        response
    }

    fn deny(&self, request: &Request, error: &InjectError) -> Response {
        self.metrics.failure.inc();
        let pod = pod_name(&request.object);
        tracing::warn!(namespace = request.namespace, pod, %error, "pod refused");
        let mut response = Response::new(&request.uid, false);
        response.status = Some(Status {
            code: 400,
            message: format!("sidecar injection: {error}"),
        });
        response
    }
}

/// A review that cannot be answered.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReviewError {
    /// No request in it.
    #[error("the body is not an AdmissionReview with a request")]
    NoRequest,
    /// The request has no id to answer to.
    #[error("the admission request has no uid")]
    NoUid,
    /// Something other than a pod.
    #[error("only pods are injected, the request is about \"{0}\"")]
    NotAPod(String),
}

/// What is needed of an AdmissionRequest.
struct Request {
    uid: String,
    namespace: String,
    object: Value,
}

impl Request {
    fn parse(review: &Value) -> Result<Self, ReviewError> {
        let request = &review["request"];
        if !request.is_object() {
            return Err(ReviewError::NoRequest);
        }
        let uid = text(request, "uid").ok_or(ReviewError::NoUid)?;
        let kind = text(&request["kind"], "kind").or(text(&request["object"], "kind"));
        if kind != Some("Pod") {
            return Err(ReviewError::NotAPod(kind.unwrap_or_default().to_owned()));
        }
        let object = &request["object"];
        let namespace = text(request, "namespace").or(text(&object["metadata"], "namespace"));
        Ok(Self {
            uid: uid.to_owned(),
            namespace: namespace.unwrap_or("default").to_owned(),
            object: object.clone(),
        })
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    uid: String,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Status {
    code: u16,
    message: String,
}

impl Response {
    fn new(uid: &str, allowed: bool) -> Self {
        Self {
            uid: uid.to_owned(),
            allowed,
            patch: None,
            patch_type: None,
            warnings: Vec::new(),
            status: None,
        }
    }
}

async fn inject(
    State(webhook): State<Webhook>,
    Json(review): Json<Value>,
) -> Result<Json<Value>, (StatusCode, String)> {
    respond(&webhook, &review, "")
}

async fn inject_with_settings(
    State(webhook): State<Webhook>,
    Path(settings): Path<String>,
    Json(review): Json<Value>,
) -> Result<Json<Value>, (StatusCode, String)> {
    respond(&webhook, &review, &settings)
}

fn respond(
    webhook: &Webhook,
    review: &Value,
    settings: &str,
) -> Result<Json<Value>, (StatusCode, String)> {
    webhook
        .review(review, settings)
        .map(Json)
        .map_err(|error| (StatusCode::BAD_REQUEST, format!("{error}\n")))
}

/// `cluster/ID/net/NETWORK` in any order over the settings in force.
fn with_settings(mut config: InjectorConfig, settings: &str) -> InjectorConfig {
    let mut parts = settings.split('/').filter(|part| !part.is_empty());
    while let (Some(key), Some(value)) = (parts.next(), parts.next()) {
        match key {
            "cluster" => value.clone_into(&mut config.cluster_id),
            "net" => config.network = Some(value.to_owned()),
            _ => tracing::warn!(key, value, "unknown setting in the webhook's path"),
        }
    }
    config
}

fn pod_name(pod: &Value) -> &str {
    let metadata = &pod["metadata"];
    text(metadata, "name")
        .or(text(metadata, "generateName"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
