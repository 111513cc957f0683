//! Asks the API server, without changing anything, whether the validation webhook refuses a bad object.

use kube::api::{ApiResource, DynamicObject, PostParams};
use kube::{Api, Client};
use serde_json::json;

/// What the API server says when a webhook has refused.
const REFUSED: &str = "denied the request";

/// Tries to make a Gateway that no validation lets pass.
///
/// # Errors
/// The reason why that proves nothing.
pub(super) async fn refuses_bad_object(
    client: &Client,
    namespace: &str,
    revision: &str,
) -> Result<(), String> {
    let resource = ApiResource {
        group: "networking.istio.io".to_owned(),
        version: "v1".to_owned(),
        api_version: "networking.istio.io/v1".to_owned(),
        kind: "Gateway".to_owned(),
        plural: "gateways".to_owned(),
    };
    let gateways: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let dry_run = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    match gateways
        .create(&dry_run, &bad_gateway(&resource, revision))
        .await
    {
        Ok(_) => Err("it accepted a bad object".to_owned()),
        Err(kube::Error::Api(status)) if status.message.contains(REFUSED) => Ok(()),
        // Without the definitions there is nothing to refuse.
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// Right by its schema, so that the webhook is asked, and wrong in what it means.
fn bad_gateway(resource: &ApiResource, revision: &str) -> DynamicObject {
    let mut gateway = DynamicObject::new("invalid-gateway", resource).data(json!({
        "spec": {
            "selector": {"istio": "none"},
            "servers": [{
                "hosts": ["*.*"],
                "port": {"number": 80, "name": "http", "protocol": "HTTP"},
            }],
        },
    }));
    let labels = gateway.metadata.labels.get_or_insert_default();
    labels.insert("istio.io/rev".to_owned(), revision.to_owned());
    let annotations = gateway.metadata.annotations.get_or_insert_default();
    annotations.insert(
        "internal.istio.io/webhook-always-reject".to_owned(),
        "true".to_owned(),
    );
    gateway
}
