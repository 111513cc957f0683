//! Gateways and routes that are not written as such: those of Ingresses and of the
//! Kubernetes Gateway API, with what is said back about the latter.

mod gateway_api;
mod ingress;

pub(crate) use self::gateway_api::Infrastructure;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mesh_api::gateway::Gateway;
use mesh_api::resource::ResourceKey;
use mesh_api::route::VirtualService;
use mesh_api::snapshot::{Credential, CredentialKey};

use crate::store::Store;

/// What goes back to an object that others decide about.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Feedback {
    /// `status`, without times and generations.
    pub(crate) status: serde_json::Value,
    /// What is to be there for it.
    pub(crate) infrastructure: Option<Infrastructure>,
}

/// Feedback by object.
pub(crate) type Feedbacks = BTreeMap<ResourceKey, Feedback>;

impl From<serde_json::Value> for Feedback {
    fn from(status: serde_json::Value) -> Self {
        Self {
            status,
            infrastructure: None,
        }
    }
}

/// What the objects of other kinds come to.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Derived {
    pub(super) gateways: Vec<Arc<Gateway>>,
    pub(super) virtual_services: Vec<Arc<VirtualService>>,
    /// Certificates of other namespaces than those of the gateways that show them.
    pub(super) credentials: BTreeMap<CredentialKey, Arc<Credential>>,
    pub(super) feedback: Feedbacks,
}

/// Kinds that Gateways and routes are made from.
const SOURCES: [&str; 9] = [
    "Ingress",
    "IngressClass",
    "GatewayClass",
    "KubernetesGateway",
    "HTTPRoute",
    "GRPCRoute",
    "TLSRoute",
    "TCPRoute",
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
        let concerned = touched(&SOURCES) || (touched(&REFERENCES) && some());
        if !full && !concerned {
            return false;
        }
        let mut next = ingress::derive(store);
        gateway_api::derive(store, &mut next);
        let changed = next.gateways != self.gateways
            || next.virtual_services != self.virtual_services
            || next.credentials != self.credentials;
        *self = next;
        changed
    }
}
