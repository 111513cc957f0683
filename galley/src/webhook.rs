//! The validating admission webhook: the same findings, before an object is stored.
//!
//! Errors refuse the object, warnings go back to the person who applied it. What
//! cannot be read as a review is refused: the API server decides by its failure
//! policy what that means.

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use mesh_api::diagnostic::{Diagnostic, Severity};
use mesh_api::mesh_config::MeshConfig;
use mesh_api::snapshot::Snapshot;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::manifest::Document;
use crate::manifest::node::{Node, Position};
use crate::normalize::Context;
use crate::object;

/// `AdmissionReview`, as far as it is read.
#[derive(Debug, Deserialize)]
struct Review {
    request: Option<Request>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    uid: String,
    #[serde(default)]
    operation: String,
    #[serde(default)]
    object: serde_json::Value,
    #[serde(default)]
    namespace: String,
}

/// `AdmissionReview`, as it is answered.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    api_version: &'static str,
    kind: &'static str,
    response: Verdict,
}

#[derive(Debug, Serialize)]
struct Verdict {
    uid: String,
    allowed: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
}

#[derive(Debug, Serialize)]
struct Status {
    code: u16,
    reason: &'static str,
    message: String,
}

/// Answers `POST /validate` and Istio's `POST /validate/...`. Defaults come from the
/// newest snapshot's mesh settings.
pub fn router(snapshots: watch::Receiver<Arc<Snapshot>>) -> Router {
    let validate = move |body: axum::body::Bytes| {
        let mesh = snapshots.borrow().mesh.clone();
        async move { answer(&body, &mesh) }
    };
    Router::new()
        .route("/validate", post(validate.clone()))
        .route("/validate/{*rest}", post(validate))
}

fn answer(body: &[u8], mesh: &MeshConfig) -> Response {
    let review: Result<Review, _> = serde_json::from_slice(body);
    let request = match review {
        Ok(Review {
            request: Some(request),
        }) => request,
        Ok(Review { request: None }) => {
            return (StatusCode::BAD_REQUEST, "the review has no request").into_response();
        }
        Err(error) => {
            let message = format!("not an AdmissionReview: {error}");
            return (StatusCode::BAD_REQUEST, message).into_response();
        }
    };
    let response = judge(request, mesh);
    Json(Answer {
        api_version: "admission.k8s.io/v1",
        kind: "AdmissionReview",
        response,
    })
    .into_response()
}

fn judge(mut request: Request, mesh: &MeshConfig) -> Verdict {
    if request.operation == "DELETE" || request.object.is_null() {
        return Verdict {
            uid: request.uid,
            allowed: true,
            warnings: Vec::new(),
            status: None,
        };
    }
    // Objects inside of a review may leave their namespace to the request.
    if let Some(metadata) = request
        .object
        .get_mut("metadata")
        .and_then(|m| m.as_object_mut())
    {
        if !request.namespace.is_empty() && !metadata.contains_key("namespace") {
            metadata.insert("namespace".to_owned(), request.namespace.clone().into());
        }
        // A name that the API server will generate is not there yet.
        if !metadata.contains_key("name") {
            if let Some(prefix) = metadata.get("generateName").and_then(|name| name.as_str()) {
                let name = format!("{prefix}x");
                metadata.insert("name".to_owned(), name.into());
            }
        }
    }
    let mut node = Node::from_json(&request.object);
    node.position = Position::default();
    let document = Arc::new(Document {
        file: "object".into(),
        node,
    });
    let reading = object::read(&document, &Context { mesh });
    let (errors, others): (Vec<Diagnostic>, Vec<Diagnostic>) = reading
        .diagnostics
        .into_iter()
        .partition(|found| found.severity == Severity::Error);
    let status = (!errors.is_empty()).then(|| Status {
        code: 422,
        reason: "Invalid",
        message: errors.iter().map(text).collect::<Vec<_>>().join("; "),
    });
    Verdict {
        uid: request.uid,
        allowed: errors.is_empty(),
        warnings: others.iter().map(text).collect(),
        status,
    }
}

/// A finding without its place, since an object in a review has no file.
fn text(diagnostic: &Diagnostic) -> String {
    let mut text = format!("[{}]", diagnostic.code);
    if !diagnostic.field.is_empty() {
        text.push_str(&format!(" {}", diagnostic.field));
    }
    text.push_str(&format!(": {}", diagnostic.message));
    if let Some(suggestion) = &diagnostic.suggestion {
        text.push_str(&format!(" ({suggestion})"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(spec: serde_json::Value) -> serde_json::Value {
        let request = Request {
            uid: "1".to_owned(),
            operation: "CREATE".to_owned(),
            object: json!({
                "apiVersion": "networking.istio.io/v1",
                "kind": "VirtualService",
                "metadata": {"name": "x"},
                "spec": spec,
            }),
            namespace: "shop".to_owned(),
        };
        serde_json::to_value(judge(request, &MeshConfig::default())).unwrap()
    }

    #[test]
    fn a_good_object_is_admitted() {
        let spec = json!({"hosts": ["a"], "http": [{"route": [{"destination": {"host": "a"}}]}]});
        assert_eq!(check(spec), json!({"uid": "1", "allowed": true}));
    }

    #[test]
    fn warnings_are_handed_back() {
        let spec = json!({"hosts": ["a"], "http": [
            {"route": [{"destination": {"host": "a"}}], "mirror": {"host": "b"}, "mirrorPercent": 5}]});
        let warning = "[IST0002] spec.http[0].mirrorPercent: the field is deprecated (use \"mirrorPercentage: {value: N}\")";
        assert_eq!(
            check(spec),
            json!({"uid": "1", "allowed": true, "warnings": [warning]})
        );
    }

    #[test]
    fn a_bad_object_is_refused_with_all_reasons() {
        let spec = json!({"hosts": ["a"], "http": [{"route": [{"destination": {}}], "mach": []}], "gateway": []});
        let answer = check(spec);
        let message = "[IST0106] spec.gateway: unknown field \"gateway\" (did you mean \"gateways\"?); \
            [IST0106] spec.http[0].mach: unknown field \"mach\" (did you mean \"match\"?)";
        assert_eq!(answer["status"]["message"], message);
        assert_eq!(
            (&answer["allowed"], &answer["status"]["code"]),
            (&json!(false), &json!(422))
        );
    }

    #[test]
    fn what_is_no_review_is_refused() {
        for body in ["", "{}", "[]", "{\"request\": {}}"] {
            let response = answer(body.as_bytes(), &MeshConfig::default());
            assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{body}");
        }
    }
}
