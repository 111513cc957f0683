//! `Node`: its labels, which say where it is.

use k8s_openapi::api::core::v1::Node;
use mesh_api::labels::Labels;

use super::descriptor::Descriptor;
use super::findings::Findings;
use super::read::Read;
use super::scope::Scope;

impl Read for Node {
    const KIND: Descriptor = Descriptor {
        cluster_wide: true,
        ..Descriptor::kubernetes("", "Node")
    };

    type Model = Labels;

    fn read(&self, scope: &Scope<'_>, _: &mut Findings<'_>) -> Option<Labels> {
        Some(scope.meta.labels.clone())
    }
}
