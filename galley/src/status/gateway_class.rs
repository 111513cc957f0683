//! The GatewayClass that Gateways of this mesh name. Source: Istio's class controller,
//! which makes it where it is missing and leaves one that is there as it is.

use ::kube::Client;
use ::kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, PostParams};
use serde_json::json;

use super::FIELD_MANAGER;
use crate::kinds::gateway_api::{CONTROLLER, GROUP};

/// Its name.
pub(super) const NAME: &str = "istio";

/// Makes it, unless somebody was faster.
pub(super) async fn create(client: &Client) -> Result<(), ::kube::Error> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(GROUP, "v1", "GatewayClass"));
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    let class = DynamicObject::new(NAME, &resource).data(json!({"spec": {
        "controllerName": CONTROLLER,
        "description": "Gateways whose proxies the mesh runs",
    }}));
    let params = PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    };
    match api.create(&params, &class).await {
        Err(::kube::Error::Api(refusal)) if refusal.code == 409 => Ok(()),
        other => other.map(drop),
    }
}
