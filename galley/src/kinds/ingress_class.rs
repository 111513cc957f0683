//! `IngressClass`: whether it names this mesh's controller.

use k8s_openapi::api::networking::v1::IngressClass;

use super::descriptor::Descriptor;
use super::findings::Findings;
use super::read::Read;
use super::scope::Scope;

/// The controller that IngressClasses of this mesh name.
const CONTROLLER: &str = "istio.io/ingress-controller";

impl Read for IngressClass {
    const KIND: Descriptor = Descriptor {
        cluster_wide: true,
        ..Descriptor::kubernetes("networking.k8s.io", "IngressClass")
    };

    type Model = bool;

    fn read(&self, _: &Scope<'_>, _: &mut Findings<'_>) -> Option<bool> {
        let spec = self.spec.as_ref();
        Some(spec.and_then(|spec| spec.controller.as_deref()) == Some(CONTROLLER))
    }
}
