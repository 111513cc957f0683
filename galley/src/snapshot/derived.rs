//! Gateways and routes that are not written as such: those of Ingresses.

mod ingress;

use std::collections::BTreeSet;
use std::sync::Arc;

use mesh_api::gateway::Gateway;
use mesh_api::route::VirtualService;

use crate::store::Store;

/// What the objects of other kinds come to.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Derived {
    pub(super) gateways: Vec<Arc<Gateway>>,
    pub(super) virtual_services: Vec<Arc<VirtualService>>,
}

/// Kinds that it depends on.
const SOURCES: [&str; 3] = ["Ingress", "IngressClass", "Service"];

impl Derived {
    /// Computes everything again if a change may matter. Returns true if it did.
    pub(super) fn update(&mut self, kinds: &BTreeSet<&str>, store: &Store, full: bool) -> bool {
        let touched = SOURCES.iter().any(|kind| kinds.contains(kind));
        if !full && !touched {
            return false;
        }
        let next = ingress::derive(store);
        let changed = next != *self;
        *self = next;
        changed
    }
}
