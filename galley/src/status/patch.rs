//! One status, written.

use ::kube::Client;
use ::kube::api::{Api, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};

use super::FIELD_MANAGER;
use super::report::Report;
use crate::store::DocumentKey;

/// Writes the status of an object. One that is refused for good counts as written.
pub(super) async fn status(
    client: &Client,
    key: &DocumentKey,
    report: &Report,
    status: &Value,
) -> Result<(), ::kube::Error> {
    let version = report.api_version.rsplit('/').next().unwrap_or_default();
    let resource = report.kind.resource(version);
    let client = client.clone();
    let namespace = &key.object.namespace;
    let api: Api<DynamicObject> = match report.kind.is_cluster_wide() {
        true => Api::all_with(client, &resource),
        false => Api::namespaced_with(client, namespace, &resource),
    };
    let name = &*key.object.name;
    let patch = json!({
        "apiVersion": report.api_version,
        "kind": report.kind.name(),
        "metadata": {"name": name},
        "status": status,
    });
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let written = api.patch_status(name, &params, &Patch::Apply(patch)).await;
    accept(written.map(drop), key)
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
