//! The validating admission webhook: what `meshctl validate` says, before an object is stored.
//!
//! `POST /validate` takes an AdmissionReview of `admission.k8s.io/v1`. An object with an error is denied with
//! every error's field and reason; warnings are passed on, and `kubectl` prints them. Rules that depend on the
//! mesh's settings are those of the mesh as it is now. Whether an object fits to its neighbours is not asked
//! here: they may come later.
//!
//! Reviews are made by [`Reviews`], within its bounds.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use mesh_api::diagnostic::{Diagnostic, Severity};
use mesh_api::mesh_config::MeshConfig;
use mesh_api::snapshot::Snapshot;
use mesh_runtime::metrics::BareCounter;
use mesh_runtime::reviews::Reviews;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::check::check_in;
use crate::kind::{Handling, handling};
use crate::manifest::node::Node;
use crate::manifest::{Document, Place};

/// Errors, or warnings, of one answer in bytes.
const ANSWER_BYTES_MAX: usize = 8 << 10;

/// What was reviewed, by names that are known beforehand: nobody can make up series.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Reviewed {
    /// The API group.
    pub group: &'static str,
    /// The version.
    pub version: &'static str,
    /// The kind's name in URLs, `other` for one that is not ours.
    pub resource: String,
}

/// What was refused, and why.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Refused {
    /// The API group.
    pub group: &'static str,
    /// The version.
    pub version: &'static str,
    /// The kind's name in URLs, `other` for one that is not ours.
    pub resource: String,
    /// `invalid_resource`, or `unknown_type`.
    pub reason: &'static str,
}

/// Counters of the webhook, with Istio's names and labels.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    passed: Family<Reviewed, BareCounter>,
    failed: Family<Refused, BareCounter>,
    http_errors: BareCounter,
}

impl Metrics {
    /// Registers everything under `galley_validation_`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("galley_validation");
        registry.register("passed", "Objects admitted", self.passed.clone());
        registry.register("failed", "Objects refused", self.failed.clone());
        registry.register(
            "http_error",
            "Requests that were no review",
            self.http_errors.clone(),
        );
    }

    fn admitted(&self, reviewed: Reviewed) {
        self.passed.get_or_create(&reviewed).inc();
    }

    fn refused(&self, reviewed: Reviewed) {
        let refused = Refused {
            reason: match reviewed.group {
                "" => "unknown_type",
                _ => "invalid_resource",
            },
            group: reviewed.group,
            version: reviewed.version,
            resource: reviewed.resource,
        };
        self.failed.get_or_create(&refused).inc();
    }
}

/// What a review is answered from.
#[derive(Debug, Clone)]
struct Webhook {
    metrics: Metrics,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    reviews: Reviews,
}

/// The route of the webhook. The newest snapshot says what the mesh's settings are.
pub fn router(
    metrics: Metrics,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    reviews: Reviews,
) -> axum::Router {
    axum::Router::new()
        .route("/validate", post(validate))
        .with_state(Webhook {
            metrics,
            snapshots,
            reviews,
        })
}

/// Answers a review; nothing if it has no request to answer.
pub fn review(review: &Value, mesh: &MeshConfig, metrics: &Metrics) -> Option<Value> {
    let request = &review["request"];
    let uid = request["uid"].as_str()?;
    let api_version = review["apiVersion"]
        .as_str()
        .unwrap_or("admission.k8s.io/v1");
    Some(json!({
        "apiVersion": api_version,
        "kind": "AdmissionReview",
        "response": response(uid, request, mesh, metrics),
    }))
}

async fn validate(State(webhook): State<Webhook>, request: Request) -> Response {
    let reviews = webhook.reviews.clone();
    let review = move |body: &[u8]| webhook.respond(body);
    reviews.answer("validation", request, review).await
}

impl Webhook {
    fn respond(&self, body: &[u8]) -> Response {
        let mesh = self.snapshots.borrow().mesh.clone();
        let parsed: Option<Value> = serde_json::from_slice(body).ok();
        let answer = parsed.and_then(|body| review(&body, &mesh, &self.metrics));
        match answer {
            Some(answer) => Json(answer).into_response(),
            None => {
                self.metrics.http_errors.inc();
                let reason = "the body is not an AdmissionReview with a request\n";
                (StatusCode::BAD_REQUEST, reason).into_response()
            }
        }
    }
}

fn response(uid: &str, request: &Value, mesh: &MeshConfig, metrics: &Metrics) -> Value {
    // A deletion carries no new object, and what is gone does no harm.
    if !request["object"].is_object() {
        return json!({"uid": uid, "allowed": true});
    }
    let document = document(request);
    let reviewed = reviewed(&document);
    let diagnostics = check_in(mesh, document);
    let lines = |wanted: fn(Severity) -> bool| -> Vec<String> {
        let wanted = diagnostics.iter().filter(|one| wanted(one.severity));
        bounded(wanted.map(line))
    };
    let errors = lines(|severity| severity == Severity::Error);
    let mut response = json!({"uid": uid, "allowed": errors.is_empty()});
    let warnings = lines(|severity| severity != Severity::Error);
    if !warnings.is_empty() {
        response["warnings"] = json!(warnings);
    }
    if errors.is_empty() {
        metrics.admitted(reviewed);
        return response;
    }
    metrics.refused(reviewed);
    response["status"] = json!({"code": 422, "message": errors.join("; ")});
    response
}

/// The object of a request, with the namespace that the request says it goes to.
fn document(request: &Value) -> Document {
    let mut object = request["object"].clone();
    let namespace = &request["namespace"];
    if object["metadata"]["namespace"].is_null()
        && namespace.is_string()
        && let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut)
    {
        metadata.insert("namespace".to_owned(), namespace.clone());
    }
    Document {
        place: Place::File(Arc::from("admission")),
        node: Node::from_json(&object),
    }
}

fn reviewed(document: &Document) -> Reviewed {
    let api_version = document.api_version();
    match handling(api_version, document.kind()) {
        Handling::Model(kind) => Reviewed {
            group: kind.group(),
            version: kind.version_in(api_version),
            resource: kind.plural(),
        },
        _ => Reviewed {
            group: "",
            version: "",
            resource: "other".to_owned(),
        },
    }
}

/// As many lines as an answer has room for, and how many more there are.
fn bounded(lines: impl Iterator<Item = String>) -> Vec<String> {
    let mut kept = Vec::new();
    let (mut bytes, mut more) = (0, 0);
    for line in lines {
        match kept.is_empty() || bytes + line.len() <= ANSWER_BYTES_MAX {
            true => kept.push(line.clone()),
            false => more += 1,
        }
        bytes += line.len();
    }
    if more > 0 {
        kept.push(format!("and {more} more"));
    }
    kept
}

/// A diagnostic without its place: the user has the object before them.
fn line(diagnostic: &Diagnostic) -> String {
    match &diagnostic.suggestion {
        Some(suggestion) => format!("{} ({suggestion})", diagnostic.brief()),
        None => diagnostic.brief(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mesh() -> MeshConfig {
        MeshConfig::default()
    }

    fn request(object: Value) -> Value {
        json!({
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "request": {"uid": "1", "namespace": "shop", "operation": "CREATE", "object": object},
        })
    }

    fn virtual_service(weight: u32) -> Value {
        json!({
            "apiVersion": "networking.istio.io/v1",
            "kind": "VirtualService",
            "metadata": {"name": "reviews"},
            "spec": {
                "hosts": ["reviews"],
                "http": [{"route": [{"destination": {"host": "reviews"}, "weight": weight}]}],
            },
        })
    }

    #[test]
    fn a_good_object_and_a_deletion_are_admitted() {
        let metrics = Metrics::default();
        let answer = review(&request(virtual_service(100)), &mesh(), &metrics).unwrap();
        assert_eq!(answer["response"], json!({"uid": "1", "allowed": true}));
        let answer = review(&request(Value::Null), &mesh(), &metrics).unwrap();
        assert_eq!(answer["response"], json!({"uid": "1", "allowed": true}));
    }

    #[test]
    fn a_bad_object_is_denied_with_field_and_reason() {
        let metrics = Metrics::default();
        let mut bad = virtual_service(100);
        bad["spec"]["http"][0]["route"][0]["weight"] = json!("many");
        let answer = review(&request(bad), &mesh(), &metrics).unwrap();
        let response = &answer["response"];
        assert_eq!(response["allowed"], false);
        assert_eq!(response["status"]["code"], 422);
        let message = response["status"]["message"].as_str().unwrap();
        assert!(
            message.contains("spec.http[0].route[0].weight"),
            "{message}"
        );
    }

    #[test]
    fn verdicts_are_counted_as_istio_counts_them() {
        let metrics = Metrics::default();
        let mut of_old_version = virtual_service(100);
        of_old_version["apiVersion"] = json!("networking.istio.io/v1alpha3");
        let mut bad = virtual_service(100);
        bad["spec"]["http"][0]["route"][0]["weight"] = json!("many");
        let mut unknown = virtual_service(100);
        unknown["kind"] = json!("NoSuchKind");
        for object in [virtual_service(100), of_old_version, bad, unknown] {
            review(&request(object), &mesh(), &metrics).unwrap();
        }
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let text = mesh_runtime::metrics::encode(&registry);
        let mut series: Vec<_> = text.lines().filter(|line| line.contains('{')).collect();
        series.sort_unstable();
        let of = |more: &str| {
            format!("group=\"networking.istio.io\",{more},resource=\"virtualservices\"")
        };
        let expected = [
            "galley_validation_failed{group=\"\",version=\"\",resource=\"other\",reason=\"unknown_type\"} 1"
                .to_owned(),
            format!(
                "galley_validation_failed{{{},reason=\"invalid_resource\"}} 1",
                of("version=\"v1\"")
            ),
            format!("galley_validation_passed{{{}}} 1", of("version=\"v1\"")),
            format!(
                "galley_validation_passed{{{}}} 1",
                of("version=\"v1alpha3\"")
            ),
        ];
        assert_eq!(series, expected);
    }

    #[test]
    fn what_is_no_review_has_no_answer() {
        let metrics = Metrics::default();
        assert_eq!(review(&json!({}), &mesh(), &metrics), None);
        assert_eq!(
            review(&json!({"request": {"object": {}}}), &mesh(), &metrics),
            None
        );
    }

    #[test]
    fn the_root_namespace_is_the_meshs() {
        let metrics = Metrics::default();
        let map = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "istio", "namespace": "shop"},
            "data": {"mesh": "connectTimeout: soon"},
        });
        let allowed = |mesh: &MeshConfig| {
            let answer = review(&request(map.clone()), mesh, &metrics).unwrap();
            answer["response"]["allowed"].clone()
        };
        assert_eq!(allowed(&mesh()), true);
        let shop = MeshConfig {
            root_namespace: "shop".into(),
            ..mesh()
        };
        assert_eq!(allowed(&shop), false);
    }
}
