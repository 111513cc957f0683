//! One status, written.

use ::kube::api::{DynamicObject, Patch, PatchParams};
use ::kube::core::Request;
use ::kube::{Client, Resource};
use http::HeaderValue;
use http::header::ACCEPT;
use serde_json::{Value, json};

use super::FIELD_MANAGER;
use super::report::Report;
use crate::store::DocumentKey;

/// What is to come back of an object that was written.
const METADATA: HeaderValue = HeaderValue::from_static(
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json",
);

/// Writes the status of an object. One that is refused for good counts as written.
pub(super) async fn status(
    client: &Client,
    key: &DocumentKey,
    report: &Report,
    status: &Value,
) -> Result<(), ::kube::Error> {
    let version = report.api_version.rsplit('/').next().unwrap_or_default();
    let resource = report.kind.resource(version);
    let namespace = &*key.object.namespace;
    let namespace = (!report.kind.is_cluster_wide()).then_some(namespace);
    let request = Request::new(DynamicObject::url_path(&resource, namespace));
    let name = &*key.object.name;
    let patch = json!({
        "apiVersion": report.api_version,
        "kind": report.kind.name(),
        "metadata": {"name": name},
        "status": status,
    });
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let request = request.patch_subresource("status", name, &params, &Patch::Apply(patch));
    let mut request = request.map_err(::kube::Error::BuildRequest)?;
    request.headers_mut().insert(ACCEPT, METADATA);
    // The object comes back by the watch.
    accept(client.request_text(request).await.map(drop), key)
}

/// Takes a refusal for an answer if asking again would give the same one.
pub(super) fn accept(
    result: Result<(), ::kube::Error>,
    key: &DocumentKey,
) -> Result<(), ::kube::Error> {
    match result {
        Err(::kube::Error::Api(refusal)) if is_final(refusal.code) => {
            tracing::warn!(object = %key.object, error = %refusal, "refused");
            Ok(())
        }
        other => other,
    }
}

fn is_final(code: u16) -> bool {
    matches!(code, 400..=499) && code != 429
}
