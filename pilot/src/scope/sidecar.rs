//! The Sidecar object that applies to a group of proxies, and what its egress lets through.

use std::sync::Arc;

use mesh_api::service::Service;
use mesh_api::sidecar::{EgressListener, Sidecar};
use mesh_api::snapshot::{Objects, Snapshot};

use super::ScopeKey;
use crate::node::NodeKind;

/// The Sidecar in force: one that selects the workload, else the namespace's, else the root
/// namespace's. Among equals the oldest.
pub(super) fn select(snapshot: &Snapshot, key: &ScopeKey) -> Option<Arc<Sidecar>> {
    if key.kind == NodeKind::Router {
        return None;
    }
    let own = Snapshot::of_namespace(&snapshot.sidecars, &key.namespace);
    let root = Snapshot::of_namespace(&snapshot.sidecars, &snapshot.mesh.root_namespace);
    let selected = own.iter().find(|s| {
        s.workload_selector
            .as_ref()
            .is_some_and(|selector| selector.matches(&key.labels))
    });
    let general = |objects: &'_ Objects<Sidecar>| {
        objects
            .iter()
            .find(|s| s.workload_selector.is_none())
            .cloned()
    };
    selected
        .cloned()
        .or_else(|| general(own))
        .or_else(|| general(root))
}

/// What a Sidecar's egress listeners import.
#[derive(Debug)]
pub(super) struct Egress {
    listeners: Vec<EgressListener>,
}

impl Egress {
    /// The egress of a Sidecar; `None` if it does not limit anything.
    pub(super) fn of(sidecar: &Sidecar) -> Option<Self> {
        sidecar.egress.as_ref().map(|listeners| Self {
            listeners: listeners.clone(),
        })
    }

    /// Whether a service is imported, on a port or on any.
    ///
    /// A listener with a port imports for that port alone, and then the listener without one
    /// does not.
    pub(super) fn allows(&self, service: &Service, port: Option<u16>) -> bool {
        let own = port.and_then(|port| {
            self.listeners
                .iter()
                .find(|l| l.port.is_some_and(|(number, _)| number == port))
        });
        if let Some(own) = own {
            return imports(own, service);
        }
        self.listeners
            .iter()
            .filter(|listener| port.is_none() || listener.port.is_none())
            .any(|listener| imports(listener, service))
    }
}

fn imports(listener: &EgressListener, service: &Service) -> bool {
    listener.hosts.iter().any(|host| {
        let namespace = host.namespace.as_deref();
        namespace.is_none_or(|namespace| namespace == service.meta.namespace())
            && host.host.covers(&service.hostname)
    })
}
