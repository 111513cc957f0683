//! Gateways and routes that are not written as such: those of Ingresses and of the
//! Kubernetes Gateway API, with what is said back about the latter.

mod gateway_api;
mod ingress;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mesh_api::gateway::Gateway;
use mesh_api::resource::ResourceKey;
use mesh_api::route::VirtualService;

use crate::store::Store;

/// `status` by object, without times and generations.
pub(crate) type Statuses = BTreeMap<ResourceKey, serde_json::Value>;

/// What the objects of other kinds come to.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Derived {
    pub(super) gateways: Vec<Arc<Gateway>>,
    pub(super) virtual_services: Vec<Arc<VirtualService>>,
    pub(super) statuses: Statuses,
}

/// Kinds that Gateways and routes are made from.
const SOURCES: [&str; 6] = [
    "Ingress",
    "IngressClass",
    "GatewayClass",
    "KubernetesGateway",
    "HTTPRoute",
    "ReferenceGrant",
];

/// Kinds that they refer to.
const REFERENCES: [&str; 3] = ["Namespace", "Secret", "Service"];

impl Derived {
    /// Computes everything again if a change may matter. Returns true if it did.
    pub(super) fn update(&mut self, kinds: &BTreeSet<&str>, store: &Store, full: bool) -> bool {
        let touched = |list: &[&str]| list.iter().any(|kind| kinds.contains(kind));
        let some = || {
            SOURCES
                .iter()
                .any(|kind| store.of_kind(kind).next().is_some())
        };
        if !full && !touched(&SOURCES) && !(touched(&REFERENCES) && some()) {
            return false;
        }
        let mut next = ingress::derive(store);
        gateway_api::derive(store, &mut next);
        let changed =
            (&next.gateways, &next.virtual_services) != (&self.gateways, &self.virtual_services);
        *self = next;
        changed
    }
}
