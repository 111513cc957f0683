//! `Namespace`: its labels.

use k8s_openapi::api::core::v1::Namespace;
use mesh_api::labels::Labels;

use super::descriptor::Descriptor;
use super::findings::Findings;
use super::read::Read;
use super::scope::Scope;

impl Read for Namespace {
    const KIND: Descriptor = Descriptor {
        cluster_wide: true,
        ..Descriptor::kubernetes("", "Namespace")
    };

    type Model = Labels;

    fn read(&self, scope: &Scope<'_>, _: &mut Findings<'_>) -> Option<Labels> {
        Some(scope.meta.labels.clone())
    }
}
