//! `ServiceAccount`: adds nothing to the model, since identities come from pods.

use k8s_openapi::api::core::v1::ServiceAccount;

use super::descriptor::Descriptor;
use super::findings::Findings;
use super::read::Read;
use super::scope::Scope;

impl Read for ServiceAccount {
    const KIND: Descriptor = Descriptor {
        watched: false,
        ..Descriptor::kubernetes("", "ServiceAccount")
    };

    type Model = ();

    fn read(&self, _: &Scope<'_>, _: &mut Findings<'_>) -> Option<()> {
        Some(())
    }
}
