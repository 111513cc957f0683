//! From the store's objects to the next [`Snapshot`], in work proportional to the
//! change: maps of untouched kinds keep their `Arc`, and an endpoint change
//! replaces the endpoints of the services it touches and nothing else.

mod derived;
mod endpoints;
mod secret_readers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mesh_api::resource::{Meta, ResourceKey};
use mesh_api::service::Service;
use mesh_api::snapshot::diff::Changes;
use mesh_api::snapshot::{ByNamespace, Credential, ServiceKey, Snapshot};

use self::derived::Derived;
pub(crate) use self::derived::{Feedback, Feedbacks, Infrastructure};
use self::endpoints::Endpoints;
use crate::normalize::Model;
use crate::store::Store;

/// Kinds that only feed workloads and endpoints; they are not listed as changed
/// objects.
const ENDPOINT_KINDS: [&str; 4] = ["EndpointSlice", "Pod", "Node", "WorkloadEntry"];

/// The models of a kind's objects in force.
macro_rules! written {
    ($store:expr, $kind:ident) => {
        $store
            .of_kind(stringify!($kind))
            .filter_map(|object| match &object.model {
                Model::$kind(value) => Some(value.clone()),
                _ => None,
            })
    };
}

/// Builds snapshots one after the other.
#[derive(Debug, Default)]
pub struct Builder {
    current: Snapshot,
    endpoints: Endpoints,
    derived: Derived,
}

impl Builder {
    /// What goes back to objects that others decide about.
    pub(crate) fn feedback(&self) -> &Feedbacks {
        &self.derived.feedback
    }

    /// The next snapshot, or nothing if no change has an effect.
    pub fn build(&mut self, store: &mut Store) -> Option<Arc<Snapshot>> {
        let (changed, mesh_changed) = store.take_changes();
        let full = mesh_changed || self.current.version == 0;
        if changed.is_empty() && !full {
            return None;
        }
        let kinds: BTreeSet<&str> = changed.iter().map(|key| &*key.kind).collect();
        let mut next = self.current.clone();
        if full {
            next.mesh = store.mesh().clone();
        }
        self.rules(&mut next, &kinds, store, full);
        let endpoints = self.endpoints.update(&mut next, &changed, store, full);
        let objects = changed
            .into_iter()
            .filter(|key| !ENDPOINT_KINDS.contains(&&*key.kind))
            .chain(endpoints.accounts)
            .collect();
        let changes = Changes {
            full,
            objects,
            endpoints: endpoints.changed,
        };
        if changes == Changes::default() && !endpoints.workloads {
            self.current = next;
            return None;
        }
        next.version += 1;
        next.changes = Arc::new(changes);
        self.current = next;
        Some(Arc::new(self.current.clone()))
    }

    /// Everything but services and their endpoints.
    fn rules(&mut self, next: &mut Snapshot, kinds: &BTreeSet<&str>, store: &Store, full: bool) {
        let touched = |kind: &str| full || kinds.contains(kind);
        let derived = self.derived.update(kinds, store, full);
        if derived || touched("VirtualService") {
            let written = written!(store, VirtualService);
            let objects = written.chain(self.derived.virtual_services.iter().cloned());
            next.virtual_services = Arc::new(group(objects, |value| &value.meta));
        }
        if derived || touched("Gateway") {
            let written = written!(store, Gateway);
            let objects = written.chain(self.derived.gateways.iter().cloned());
            next.gateways = Arc::new(group(objects, |value| &value.meta));
        }
        macro_rules! by_namespace {
            ($($field:ident: $kind:ident,)*) => {$(
                if touched(stringify!($kind)) {
                    let objects = written!(store, $kind);
                    next.$field = Arc::new(group(objects, |value| &value.meta));
                }
            )*};
        }
        by_namespace! {
            destination_rules: DestinationRule,
            sidecars: Sidecar,
            peer_authentications: PeerAuthentication,
            request_authentications: RequestAuthentication,
            telemetries: Telemetry,
        }
        // A refused RequestAuthentication is stood in for by a policy that denies.
        let policy_kinds = ["AuthorizationPolicy", "RequestAuthentication"];
        if policy_kinds.into_iter().any(touched) {
            let objects = policy_kinds
                .into_iter()
                .flat_map(|kind| store.of_kind(kind));
            let policies = objects.filter_map(|object| match &object.model {
                Model::AuthorizationPolicy(value) => Some(value.clone()),
                _ => None,
            });
            next.authorization_policies = Arc::new(group(policies, |value| &value.meta));
        }
        if touched("Namespace") {
            let namespaces = store
                .of_kind("Namespace")
                .map(|object| (object.meta.key.name.clone(), object.meta.labels.clone()));
            next.namespaces = Arc::new(namespaces.collect());
        }
        if secret_readers::KINDS.into_iter().any(touched) {
            next.secret_readers = Arc::new(secret_readers::secret_readers(store));
        }
        if derived || touched("Secret") {
            let credentials = store
                .of_kind("Secret")
                .filter_map(|object| match &object.model {
                    Model::Credential(credential) => {
                        let key = &credential.key;
                        Some((
                            (key.namespace.clone(), key.name.clone()),
                            with_ca(credential, store),
                        ))
                    }
                    _ => None,
                });
            let foreign = self.derived.credentials.clone();
            next.credentials = Arc::new(credentials.chain(foreign).collect());
        }
    }
}

/// CA certificates may stand in a Secret of their own, `NAME-cacert`, so that who
/// may read them need not read the key.
fn with_ca(credential: &Arc<Credential>, store: &Store) -> Arc<Credential> {
    let name = format!("{}-cacert", credential.key.name);
    let key = ResourceKey::new("Secret", &credential.key.namespace, &name);
    match store.get(&key).map(|object| &object.model) {
        Some(Model::Credential(other)) if credential.ca_certificates.is_none() => {
            let mut joined = (**credential).clone();
            joined.ca_certificates = other.ca_certificates.clone();
            joined.crl = joined.crl.or_else(|| other.crl.clone());
            Arc::new(joined)
        }
        _ => credential.clone(),
    }
}

/// Objects by namespace, the oldest first.
fn group<T>(objects: impl Iterator<Item = Arc<T>>, meta: fn(&T) -> &Meta) -> ByNamespace<T> {
    let mut groups: ByNamespace<T> = BTreeMap::new();
    for object in objects {
        let namespace = meta(&object).key.namespace.clone();
        groups.entry(namespace).or_default().push(object);
    }
    for group in groups.values_mut() {
        group.sort_by(|a, b| meta(a).age_order().cmp(&meta(b).age_order()));
    }
    groups
}

/// Services by name; of two objects that register the same host in one namespace
/// the older wins, and a Kubernetes Service goes before a ServiceEntry.
fn services<'a>(services: impl Iterator<Item = &'a Service>) -> BTreeMap<ServiceKey, &'a Service> {
    let mut sorted: Vec<&Service> = services.collect();
    let order = |service: &Service| {
        let registry = service.registry == mesh_api::service::Registry::External;
        (registry, service.meta.creation_seconds)
    };
    sorted.sort_by(|a, b| {
        order(a)
            .cmp(&order(b))
            .then_with(|| a.meta.age_order().cmp(&b.meta.age_order()))
    });
    let mut map = BTreeMap::new();
    for service in sorted {
        map.entry(ServiceKey::of(service)).or_insert(service);
    }
    map
}

/// The object a service came from.
fn source(service: &Service) -> ResourceKey {
    service.meta.key.clone()
}

#[cfg(test)]
mod tests;
