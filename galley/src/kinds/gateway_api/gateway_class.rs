//! `GatewayClass`: whether it names this mesh's controller.

use serde_json::Value as Json;

use super::reference::GROUP;
use crate::kinds::descriptor::Descriptor;
use crate::kinds::findings::Findings;
use crate::kinds::read::Read;
use crate::kinds::scope::Scope;
use crate::kinds::wire::wire;

/// The controller that GatewayClasses of this mesh name.
pub const CONTROLLER: &str = "istio.io/gateway-controller";

wire! {
    GatewayClassSpec {
        controller_name: String,
        description: Option<String>,
        parameters_ref: Option<Json>,
    }
}

impl Read for GatewayClassSpec {
    const KIND: Descriptor = Descriptor {
        cluster_wide: true,
        ..Descriptor::custom(GROUP, "GatewayClass", &["v1", "v1beta1"])
    };

    type Model = bool;

    fn read(&self, _: &Scope<'_>, _: &mut Findings<'_>) -> Option<bool> {
        Some(self.controller_name == CONTROLLER)
    }
}
