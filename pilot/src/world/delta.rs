//! What changed from one world to the next, by what it means for generation.

use std::collections::BTreeSet;
use std::sync::Arc;

use mesh_api::authn::MtlsMode;
use mesh_api::resource::{HasMeta, ResourceKey};
use mesh_api::route::VirtualService;
use mesh_api::snapshot::diff::Changes;
use mesh_api::snapshot::{ByNamespace, ServiceKey, Snapshot};
use mesh_api::traffic_policy::DestinationRule;

use crate::policy::{mtls_disabled, namespace_mode};

/// An object as it was and as it is.
#[derive(Debug)]
pub(crate) struct Changed<T> {
    pub(crate) before: Option<Arc<T>>,
    pub(crate) after: Option<Arc<T>>,
}

/// The difference between a world and the one before.
#[derive(Debug, Default)]
pub(crate) struct Delta {
    /// Anything may differ.
    pub(super) everything: bool,
    /// Services with other endpoints.
    pub(super) endpoints: BTreeSet<ServiceKey>,
    pub(super) virtual_services: Vec<Changed<VirtualService>>,
    pub(super) destination_rules: Vec<Changed<DestinationRule>>,
    /// What gateways listen for, and their policies: few proxies, whose listeners are made anew.
    pub(super) gateways: bool,
    /// Namespaces with other rules for their own workloads: policies, Sidecars, destination rules.
    pub(super) own: BTreeSet<Arc<str>>,
}

impl Delta {
    /// Everything.
    fn everything() -> Self {
        Self {
            everything: true,
            ..Self::default()
        }
    }

    /// The difference of successive snapshots.
    pub(super) fn new(before: &Snapshot, after: &Snapshot) -> Self {
        let changes: &Changes = &after.changes;
        let successive = after.version == before.version + 1;
        if !successive || changes.full || shapes_views(before, after) {
            return Self::everything();
        }
        let mut delta = Self {
            endpoints: changes.endpoints.clone(),
            gateways: !Arc::ptr_eq(&before.gateways, &after.gateways)
                || !Arc::ptr_eq(&before.credentials, &after.credentials),
            ..Self::default()
        };
        let keys = &changes.objects;
        delta.virtual_services = changed(
            (&before.virtual_services, &after.virtual_services),
            keys,
            "VirtualService",
        );
        delta.destination_rules = changed(
            (&before.destination_rules, &after.destination_rules),
            keys,
            "DestinationRule",
        );
        for key in keys {
            match &*key.kind {
                "AuthorizationPolicy" | "RequestAuthentication" => {
                    delta.gateways = true;
                    delta.own.insert(Arc::clone(&key.namespace));
                }
                "DestinationRule" | "PeerAuthentication" => {
                    delta.own.insert(Arc::clone(&key.namespace));
                }
                _ => {}
            }
        }
        delta
    }

    /// Whether the own resources of proxies in a namespace may differ.
    pub(super) fn touches_own(&self, namespace: &str, root_namespace: &str) -> bool {
        self.everything || self.own.contains(namespace) || self.own.contains(root_namespace)
    }
}

/// Whether something changed that decides what a whole group of proxies sees.
fn shapes_views(before: &Snapshot, after: &Snapshot) -> bool {
    !(Arc::ptr_eq(&before.mesh, &after.mesh)
        && Arc::ptr_eq(&before.services, &after.services)
        && Arc::ptr_eq(&before.sidecars, &after.sidecars)
        && Arc::ptr_eq(&before.telemetries, &after.telemetries))
        || refuse_otherwise(before, after)
}

/// Whether other workloads refuse mesh TLS than before. What they accept besides is their own
/// listeners' affair.
fn refuse_otherwise(before: &Snapshot, after: &Snapshot) -> bool {
    if Arc::ptr_eq(&before.peer_authentications, &after.peer_authentications) {
        return false;
    }
    let refuses =
        |snapshot, namespace: &str| namespace_mode(snapshot, namespace) == MtlsMode::Disable;
    let root = &after.mesh.root_namespace;
    let namespaces = after.changes.objects.iter().map(|key| &key.namespace);
    mtls_disabled(before) != mtls_disabled(after)
        || namespaces
            .chain([root])
            .any(|namespace| refuses(before, namespace) != refuses(after, namespace))
}

/// The objects of a kind that changed. The changes name what is derived from other objects as well.
fn changed<T: HasMeta>(
    (before, after): (&ByNamespace<T>, &ByNamespace<T>),
    keys: &BTreeSet<ResourceKey>,
    kind: &str,
) -> Vec<Changed<T>> {
    let keys = keys.iter().filter(|key| &*key.kind == kind);
    let find = |objects: &ByNamespace<T>, key: &ResourceKey| {
        objects.object(&key.namespace, &key.name).cloned()
    };
    keys.map(|key| Changed {
        before: find(before, key),
        after: find(after, key),
    })
    .collect()
}
