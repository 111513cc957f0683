//! What a derivation may look at. Whatever it reads is noted.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use mesh_api::mesh_config::MeshConfig;
use mesh_api::resource::ResourceKey;
use mesh_api::service::Service;

use crate::kinds::Model;
use crate::kinds::gateway_api::{GROUP, Reference};
use crate::object::Object;
use crate::store::Store;

/// Something that was read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Input {
    /// An object, there or not.
    Object(ResourceKey),
    /// The ReferenceGrants of a namespace.
    Grants(Arc<str>),
}

/// The mesh as a derivation sees it.
pub(super) struct World<'a> {
    store: &'a Store,
    read: RefCell<BTreeSet<Input>>,
}

impl<'a> World<'a> {
    pub(super) fn new(store: &'a Store) -> Self {
        Self {
            store,
            read: RefCell::default(),
        }
    }

    /// What was read.
    pub(super) fn into_read(self) -> BTreeSet<Input> {
        self.read.into_inner()
    }

    fn note(&self, input: Input) {
        self.read.borrow_mut().insert(input);
    }

    /// The mesh's settings. When they change, everything is derived.
    pub(super) fn mesh(&self) -> &MeshConfig {
        self.store.mesh()
    }

    /// An object in force.
    pub(super) fn get(&self, key: &ResourceKey) -> Option<&'a Arc<Object>> {
        self.note(Input::Object(key.clone()));
        self.store.get(key)
    }

    /// A Service.
    pub(super) fn service(&self, key: &ResourceKey) -> Option<&'a Arc<Service>> {
        match &self.get(key)?.model {
            Model::Service(service) => Some(service),
            _ => None,
        }
    }

    /// True if an object of the Gateway API of `kind` in `namespace` may refer to `to`.
    pub(super) fn permit(&self, kind: &str, namespace: &str, to: &Reference) -> bool {
        if *to.namespace == *namespace {
            return true;
        }
        self.note(Input::Grants(to.namespace.clone()));
        let grants = self.store.of_namespace("ReferenceGrant", &to.namespace);
        let mut grants = grants.filter_map(|object| match &object.model {
            Model::ReferenceGrant(grant) => Some(grant),
            _ => None,
        });
        grants.any(|grant| {
            let granted = grant.to.iter().any(|one| {
                let named = one.name.as_ref().is_none_or(|name| *name == to.name);
                named && one.group == to.group && one.kind == to.kind
            });
            let asked = grant
                .from
                .iter()
                .any(|one| (&*one.group, &*one.kind, &*one.namespace) == (GROUP, kind, namespace));
            granted && asked
        })
    }
}
