//! Which objects may refer into which namespaces.

use crate::normalize::Model;
use crate::normalize::gateway_api::{GROUP, Reference, ReferenceGrant};
use crate::store::Store;

/// All ReferenceGrants.
pub(super) struct Grants<'a> {
    grants: Vec<&'a ReferenceGrant>,
}

impl<'a> Grants<'a> {
    pub(super) fn of(store: &'a Store) -> Self {
        let objects = store.of_kind("ReferenceGrant");
        let grants = objects.filter_map(|object| match &object.model {
            Model::ReferenceGrant(grant) => Some(&**grant),
            _ => None,
        });
        Self {
            grants: grants.collect(),
        }
    }

    /// True if an object of `kind` in `namespace` may refer to `to`.
    pub(super) fn permit(&self, kind: &str, namespace: &str, to: &Reference) -> bool {
        if *to.namespace == *namespace {
            return true;
        }
        self.grants.iter().any(|grant| {
            let granted = grant.to.iter().any(|one| {
                let named = one.name.as_ref().is_none_or(|name| *name == to.name);
                named && one.group == to.group && one.kind == to.kind
            });
            let asked = grant
                .from
                .iter()
                .any(|one| (&*one.group, &*one.kind, &*one.namespace) == (GROUP, kind, namespace));
            grant.namespace == to.namespace && granted && asked
        })
    }
}
