//! From the store's objects to the next [`Snapshot`], in work proportional to the
//! change: each object that changed is replaced in its map, which shares the rest
//! with the map before, and an endpoint change replaces the endpoints of the
//! services it touches and nothing else.

mod derived;
mod endpoints;
mod secret_readers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mesh_api::resource::{HasMeta, ResourceKey};
use mesh_api::snapshot::diff::Changes;
use mesh_api::snapshot::{ByNamespace, Credential, CredentialKey, Snapshot};

use self::derived::{Derived, Rederived};
pub(crate) use self::derived::{Feedback, Feedbacks, Infrastructure};
use self::endpoints::Endpoints;
use crate::kinds::Model;
use crate::store::{Changed, Store};

/// Kinds that only feed workloads and endpoints; they are not listed as changed
/// objects.
const ENDPOINT_KINDS: [&str; 4] = ["EndpointSlice", "Pod", "Node", "WorkloadEntry"];

/// CA certificates may stand in a Secret of their own, `NAME-cacert`, so that who
/// may read them need not read the key.
const CA_SUFFIX: &str = "-cacert";

/// The object of a name in force as a model of its kind.
macro_rules! model {
    ($store:expr, $key:expr, $kind:ident) => {
        match $store.get($key).map(|object| &object.model) {
            Some(Model::$kind(value)) => Some(value),
            _ => None,
        }
    };
}

/// Builds snapshots one after the other.
#[derive(Debug, Default)]
pub struct Builder {
    current: Snapshot,
    endpoints: Endpoints,
    derived: Derived,
    /// Policies that stand in for objects of another kind, by these.
    stand_ins: BTreeMap<ResourceKey, ResourceKey>,
}

/// What a step of the builder gave.
#[derive(Debug, Default)]
pub(crate) struct Built {
    /// The next snapshot, or nothing if no change has an effect.
    pub(crate) snapshot: Option<Arc<Snapshot>>,
    /// Objects that something else is said about than before.
    pub(crate) feedback: BTreeSet<ResourceKey>,
    /// Objects that were read to derive others.
    pub(crate) derived_from: usize,
}

impl Builder {
    /// What goes back to objects that others decide about.
    pub(crate) fn feedback(&self) -> &Feedbacks {
        self.derived.feedback()
    }

    /// Brings everything up to date with what changed in the store.
    pub(crate) fn build(&mut self, changed: &Changed, store: &Store) -> Built {
        let full = changed.mesh || self.current.version == 0;
        if changed.objects.is_empty() && !full {
            return Built::default();
        }
        let mut next = self.current.clone();
        if full {
            next.mesh = store.mesh().clone();
        }
        let rederived = self.derived.update(changed, store);
        let mut objects = BTreeSet::new();
        self.rules(&mut next, changed, &rederived, store, &mut objects);
        let endpoints = self.endpoints.update(&mut next, changed, store);
        let written = changed.objects.keys();
        let written = written.filter(|key| !ENDPOINT_KINDS.contains(&&*key.kind));
        objects.extend(written.cloned().chain(endpoints.accounts));
        let changes = Changes {
            full,
            objects,
            endpoints: endpoints.changed,
            workloads: endpoints.workloads,
        };
        let snapshot = (changes != Changes::default()).then(|| {
            next.version += 1;
            next.changes = Arc::new(changes);
            Arc::new(next.clone())
        });
        self.current = next;
        Built {
            snapshot,
            feedback: rederived.feedback,
            derived_from: rederived.visited,
        }
    }

    /// Everything but services and their endpoints. The objects of the snapshot that were made of others go to
    /// `objects`.
    fn rules(
        &mut self,
        next: &mut Snapshot,
        changed: &Changed,
        rederived: &Rederived,
        store: &Store,
        objects: &mut BTreeSet<ResourceKey>,
    ) {
        let written = || changed.objects.keys();
        for key in written() {
            written_rule(next, key, store);
            if &*key.kind == "RequestAuthentication" {
                objects.extend(self.stand_in(next, key, store));
            }
        }
        for key in of_kind(written(), "VirtualService").chain(&rederived.virtual_services) {
            let written = model!(store, key, VirtualService);
            let value = written.or_else(|| self.derived.virtual_service(key));
            place(&mut next.virtual_services, key, value);
        }
        for key in of_kind(written(), "Gateway").chain(&rederived.gateways) {
            let value = model!(store, key, Gateway).or_else(|| self.derived.gateway(key));
            place(&mut next.gateways, key, value);
        }
        objects.extend(rederived.virtual_services.iter().cloned());
        objects.extend(rederived.gateways.iter().cloned());
        let secrets = of_kind(written(), "Secret").flat_map(credentials_with);
        for name in secrets.chain(rederived.credentials.iter().cloned()) {
            objects.extend(self.credential(next, &name, store));
        }
        if written().any(|key| secret_readers::KINDS.contains(&&*key.kind)) {
            next.secret_readers = Arc::new(secret_readers::secret_readers(store));
        }
    }

    /// A refused RequestAuthentication is stood in for by a policy that denies. The policies that came, went or changed.
    fn stand_in(
        &mut self,
        next: &mut Snapshot,
        key: &ResourceKey,
        store: &Store,
    ) -> BTreeSet<ResourceKey> {
        let before = self.stand_ins.remove(key);
        let after = model!(store, key, AuthorizationPolicy);
        if let Some(before) = &before {
            place(&mut next.authorization_policies, before, None);
        }
        let after = after.map(|policy| {
            let name = policy.meta.key.clone();
            place(&mut next.authorization_policies, &name, Some(policy));
            self.stand_ins.insert(key.clone(), name.clone());
            name
        });
        before.into_iter().chain(after).collect()
    }

    /// Sets a credential; its Secret, if it changed.
    fn credential(
        &self,
        next: &mut Snapshot,
        name: &CredentialKey,
        store: &Store,
    ) -> Option<ResourceKey> {
        let secret = ResourceKey::new("Secret", &name.0, &name.1);
        let own = model!(store, &secret, Credential).map(|own| with_ca(own, store));
        let value = own.or_else(|| self.derived.credential(name).cloned());
        if next.credentials.get(name) == value.as_ref() {
            return None;
        }
        let credentials = Arc::make_mut(&mut next.credentials);
        match value {
            Some(value) => credentials.insert(name.clone(), value),
            None => {
                credentials.remove(name);
            }
        }
        Some(secret)
    }
}

/// Sets or removes an object that is in the snapshot as it was written.
fn written_rule(next: &mut Snapshot, key: &ResourceKey, store: &Store) {
    macro_rules! place_in {
        ($field:ident, $kind:ident) => {
            place(&mut next.$field, key, model!(store, key, $kind))
        };
    }
    match &*key.kind {
        "DestinationRule" => place_in!(destination_rules, DestinationRule),
        "Sidecar" => place_in!(sidecars, Sidecar),
        "PeerAuthentication" => place_in!(peer_authentications, PeerAuthentication),
        "RequestAuthentication" => place_in!(request_authentications, RequestAuthentication),
        "AuthorizationPolicy" => place_in!(authorization_policies, AuthorizationPolicy),
        "Telemetry" => place_in!(telemetries, Telemetry),
        "Namespace" => namespace(next, key, store),
        _ => {}
    }
}

fn of_kind<'a>(
    keys: impl Iterator<Item = &'a ResourceKey>,
    kind: &'static str,
) -> impl Iterator<Item = &'a ResourceKey> {
    keys.filter(move |key| &*key.kind == kind)
}

/// The credentials that a Secret is a part of.
fn credentials_with(secret: &ResourceKey) -> impl Iterator<Item = CredentialKey> {
    let base = secret.name.strip_suffix(CA_SUFFIX).map(Arc::from);
    let names = [Some(secret.name.clone()), base].into_iter().flatten();
    names.map(|name| (secret.namespace.clone(), name))
}

/// Sets or removes an object.
fn place<T: HasMeta>(map: &mut Arc<ByNamespace<T>>, key: &ResourceKey, value: Option<&Arc<T>>) {
    match value {
        Some(value) => Arc::make_mut(map).insert(value.clone()),
        None if map.object(&key.namespace, &key.name).is_some() => {
            Arc::make_mut(map).remove(&key.namespace, &key.name);
        }
        None => {}
    }
}

fn namespace(next: &mut Snapshot, key: &ResourceKey, store: &Store) {
    let labels = store.get(key).map(|object| object.meta.labels.clone());
    if next.namespaces.get(&key.name) == labels.as_ref() {
        return;
    }
    let namespaces = Arc::make_mut(&mut next.namespaces);
    match labels {
        Some(labels) => namespaces.insert(key.name.clone(), labels),
        None => {
            namespaces.remove(&key.name);
        }
    }
}

fn with_ca(credential: &Arc<Credential>, store: &Store) -> Arc<Credential> {
    let name = format!("{}{CA_SUFFIX}", credential.key.name);
    let key = ResourceKey::new("Secret", &credential.key.namespace, &name);
    match model!(store, &key, Credential) {
        Some(other) if credential.ca_certificates.is_none() => {
            let mut joined = (**credential).clone();
            joined.ca_certificates = other.ca_certificates.clone();
            joined.crl = joined.crl.or_else(|| other.crl.clone());
            Arc::new(joined)
        }
        _ => credential.clone(),
    }
}

#[cfg(test)]
mod tests;
