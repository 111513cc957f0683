//! The mutating admission webhook: an AdmissionReview in, a JSON patch out.
//!
//! `POST /inject`, and `/inject/cluster/ID/net/NETWORK` for clusters that share a control plane. The review
//! is read as plain JSON with only the fields that are needed, so a newer API server's additions do no harm.
//! A pod that cannot be injected as its author asked is refused: it would run outside the mesh otherwise. So is one
//! that costs more than a review may; reviews are made by [`Reviews`], within its bounds.

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract::{self, Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mesh_runtime::cpu_budget;
use mesh_runtime::reviews::Reviews;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use crate::config::InjectorConfig;
use crate::inject::{InjectError, Injection, inject_pod};
use crate::json::{short, text};
use crate::metrics::Metrics;
use crate::patch;
use crate::policy::Namespace;

/// Bytes of what is told to the pod's author, which may quote an annotation.
const MESSAGE_BYTES_MAX: usize = 4096;

/// Warnings that are passed on; an API server keeps 4 KiB of them.
const WARNINGS_MAX: usize = 20;

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
    pub fn router(self, reviews: Reviews) -> axum::Router {
        axum::Router::new()
            .route("/inject", post(inject))
            .route("/inject/{*settings}", post(inject_with_settings))
            .with_state((self, reviews))
    }

    /// Answers one review in JSON; `settings` is the rest of the path.
    ///
    /// # Errors
    /// When it cannot be answered; a pod that is refused is no such error.
    pub fn review(&self, review: &[u8], settings: &str) -> Result<Value, ReviewError> {
        let started = Instant::now();
        self.metrics.requests.inc();
        let parsed = Review::parse(review).inspect_err(|_| {
            self.metrics.failure.inc();
        })?;
        let Review {
            api_version,
            request,
        } = parsed;
        let answer = match self.answer(&request, settings) {
            Ok(injection) => self.allow(&request, &injection),
            Err(error) => self.deny(&request, &error),
        };
        self.metrics
            .seconds
            .observe(started.elapsed().as_secs_f64());
        Ok(serde_json::json!({
            "apiVersion": api_version,
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
        cpu_budget::check()?;
        inject_pod(&request.object, &namespace, &config)
    }

    fn allow(&self, request: &Request, injection: &Injection) -> Response {
        tracing::info!(
            namespace = short(&request.namespace),
            pod = short(pod_name(&request.object)),
            injected = injection.decision.is_inject(),
            reason = %injection.decision.reason(),
            "pod reviewed"
        );
        let mut response = Response::new(&request.uid, true);
        let warnings = injection.warnings.iter().take(WARNINGS_MAX);
        response.warnings = warnings.map(|warning| short(warning).to_owned()).collect();
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
        let mut message = format!("sidecar injection: {error}");
        if message.len() > MESSAGE_BYTES_MAX {
            message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
            message.push('…');
        }
        tracing::warn!(
            namespace = short(&request.namespace),
            pod = short(pod_name(&request.object)),
            message,
            "pod refused"
        );
        let mut response = Response::new(&request.uid, false);
        response.status = Some(Status { code: 400, message });
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

/// What is needed of an AdmissionReview.
struct Review {
    api_version: String,
    request: Request,
}

/// What is needed of an AdmissionRequest.
struct Request {
    uid: String,
    namespace: String,
    object: Value,
}

/// An AdmissionReview on the wire; what else is in it, the old object above all, is not kept.
#[derive(Deserialize)]
struct WireReview {
    #[serde(default, rename = "apiVersion")]
    api_version: Option<String>,
    #[serde(default)]
    request: Option<WireRequest>,
}

#[derive(Deserialize)]
struct WireRequest {
    uid: Option<String>,
    #[serde(default)]
    kind: Value,
    namespace: Option<String>,
    #[serde(default)]
    object: Value,
}

impl Review {
    fn parse(review: &[u8]) -> Result<Self, ReviewError> {
        let review: WireReview =
            serde_json::from_slice(review).map_err(|_| ReviewError::NoRequest)?;
        let request = review.request.ok_or(ReviewError::NoRequest)?;
        let uid = request.uid.ok_or(ReviewError::NoUid)?;
        let object = request.object;
        let kind = text(&request.kind, "kind").or(text(&object, "kind"));
        if kind != Some("Pod") {
            return Err(ReviewError::NotAPod(
                short(kind.unwrap_or_default()).to_owned(),
            ));
        }
        let in_object = || text(&object["metadata"], "namespace").map(ToOwned::to_owned);
        let namespace = request.namespace.or_else(in_object);
        Ok(Self {
            api_version: review
                .api_version
                .unwrap_or_else(|| "admission.k8s.io/v1".to_owned()),
            request: Request {
                uid,
                namespace: namespace.unwrap_or_else(|| "default".to_owned()),
                object,
            },
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
    state: State<(Webhook, Reviews)>,
    request: extract::Request,
) -> axum::response::Response {
    inject_with_settings(state, Path(String::new()), request).await
}

async fn inject_with_settings(
    State((webhook, reviews)): State<(Webhook, Reviews)>,
    Path(settings): Path<String>,
    request: extract::Request,
) -> axum::response::Response {
    let review = move |body: &[u8]| match webhook.review(body, &settings) {
        Ok(answer) => Json(answer).into_response(),
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    };
    reviews.answer("injection", request, review).await
}

/// `cluster/ID/net/NETWORK` in any order over the settings in force.
fn with_settings(mut config: InjectorConfig, settings: &str) -> InjectorConfig {
    let mut parts = settings.split('/').filter(|part| !part.is_empty());
    while let (Some(key), Some(value)) = (parts.next(), parts.next()) {
        match key {
            "cluster" => value.clone_into(&mut config.cluster_id),
            "net" => config.network = Some(value.to_owned()),
            _ => {
                // One line, however long the path is.
                let (key, value) = (short(key), short(value));
                tracing::warn!(key, value, "unknown setting in the webhook's path");
                break;
            }
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
