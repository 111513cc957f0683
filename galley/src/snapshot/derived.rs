//! Gateways and routes that are not written as such: those of Ingresses and of the
//! Kubernetes Gateway API, with what is said back about the latter.
//!
//! Each Gateway, route and Ingress is derived by itself, and what it read meanwhile is
//! remembered: it is derived again when it has changed or something of that has. Rules
//! for one listener and host come from several routes, which are merged there.

mod gateway_api;
mod ingress;
mod place;
mod world;

pub(crate) use self::gateway_api::Infrastructure;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mesh_api::gateway::Gateway;
use mesh_api::resource::{HasMeta, ResourceKey};
use mesh_api::route::VirtualService;
use mesh_api::snapshot::{Credential, CredentialKey};

use self::gateway_api::{Attached, Attachments, Route};
use self::place::{Contribution, Contributions, Place};
use self::world::{Input, World};
use crate::depend::Dependencies;
use crate::kinds::Model;
use crate::object::Object;
use crate::store::{Changed, Store};

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

/// What one object comes to.
#[derive(Debug, Default, PartialEq)]
struct Made {
    gateways: BTreeMap<ResourceKey, Arc<Gateway>>,
    /// Certificates of other namespaces than those of the gateways that show them.
    credentials: BTreeMap<CredentialKey, Arc<Credential>>,
    feedback: Option<Feedback>,
    contributions: BTreeMap<Place, Arc<Contribution>>,
    attached: Vec<Attached>,
}

/// What all objects come to.
#[derive(Debug, Default)]
pub(super) struct Derived {
    dependencies: Dependencies<ResourceKey, Input>,
    made: BTreeMap<ResourceKey, Made>,
    contributions: BTreeMap<Place, Contributions>,
    attachments: BTreeMap<ResourceKey, Attachments>,
    /// The VirtualService of each place.
    placed: BTreeMap<Place, ResourceKey>,
    virtual_services: BTreeMap<ResourceKey, BTreeMap<Place, Arc<VirtualService>>>,
    /// By the Gateways that show them.
    credentials: BTreeMap<CredentialKey, BTreeMap<ResourceKey, Arc<Credential>>>,
    gateways: BTreeMap<ResourceKey, Arc<Gateway>>,
    feedback: Feedbacks,
}

/// What an update changed.
#[derive(Debug, Default)]
pub(super) struct Rederived {
    pub(super) gateways: BTreeSet<ResourceKey>,
    pub(super) virtual_services: BTreeSet<ResourceKey>,
    pub(super) credentials: BTreeSet<CredentialKey>,
    pub(super) feedback: BTreeSet<ResourceKey>,
    /// Objects that were read for it.
    pub(super) visited: usize,
}

/// Kinds that Gateways and routes are made from.
const SOURCES: [&str; 7] = [
    "Ingress",
    "GatewayClass",
    "HTTPRoute",
    "GRPCRoute",
    "TLSRoute",
    "TCPRoute",
    GATEWAY,
];
const GATEWAY: &str = "KubernetesGateway";

impl Derived {
    pub(super) fn gateway(&self, key: &ResourceKey) -> Option<&Arc<Gateway>> {
        self.gateways.get(key)
    }

    pub(super) fn virtual_service(&self, key: &ResourceKey) -> Option<&Arc<VirtualService>> {
        self.virtual_services.get(key)?.values().next()
    }

    pub(super) fn credential(&self, name: &CredentialKey) -> Option<&Arc<Credential>> {
        self.credentials.get(name)?.values().next()
    }

    pub(super) fn feedback(&self) -> &Feedbacks {
        &self.feedback
    }

    /// Derives again what a change concerns.
    pub(super) fn update(&mut self, changed: &Changed, store: &Store) -> Rederived {
        let mut done = Rederived::default();
        let concerned = self.concerned(changed, store);
        let is_gateway = |key: &ResourceKey| &*key.kind == GATEWAY;
        let (mut gateways, others): (BTreeSet<_>, BTreeSet<_>) =
            concerned.into_iter().partition(is_gateway);
        let mut places = BTreeSet::new();
        for key in others {
            let made = self.derive(&key, store);
            gateways.extend(self.attach(&key, &made));
            places.extend(self.contribute(&key, &made));
            self.keep(key, made, &mut done);
        }
        // Gateways come after routes, since they say how many of them are attached.
        for key in gateways {
            let made = self.derive(&key, store);
            self.keep(key, made, &mut done);
        }
        for place in places {
            self.build(place, &mut done);
        }
        done
    }

    /// The objects that are to be derived again.
    fn concerned(&self, changed: &Changed, store: &Store) -> BTreeSet<ResourceKey> {
        let mut concerned = BTreeSet::new();
        for key in changed.objects.keys() {
            if SOURCES.contains(&&*key.kind) {
                concerned.insert(key.clone());
            }
            let input = match &*key.kind {
                "ReferenceGrant" => Input::Grants(key.namespace.clone()),
                _ => Input::Object(key.clone()),
            };
            concerned.extend(self.dependencies.readers(&input).cloned());
        }
        if changed.mesh {
            let all = SOURCES.iter().flat_map(|kind| store.of_kind(kind));
            concerned.extend(all.map(|object| object.meta.key.clone()));
        }
        concerned
    }

    fn derive(&mut self, key: &ResourceKey, store: &Store) -> Made {
        let world = World::new(store);
        let made = match store.get(key) {
            Some(object) => self.make(object, &world),
            None => Made::default(),
        };
        self.dependencies.set(key, world.into_read());
        made
    }

    fn make(&self, object: &Object, world: &World<'_>) -> Made {
        match &object.model {
            Model::Ingress(ingress) => ingress::derive(ingress, world),
            Model::GatewayClass(ours) => gateway_api::class(*ours),
            Model::KubernetesGateway(gateway) => {
                let attachments = self.attachments.get(&object.meta.key);
                gateway_api::gateway(gateway, attachments, world)
            }
            Model::HttpRoute(route) => gateway_api::route(Route::Http(route), world),
            Model::L4Route(route) => gateway_api::route(Route::L4(route), world),
            _ => Made::default(),
        }
    }

    /// Counts the attachments of a route where they are new, and no longer where they were. The Gateways that this
    /// concerns.
    fn attach(&mut self, key: &ResourceKey, made: &Made) -> BTreeSet<ResourceKey> {
        let before = self.made.get(key).map_or(&[][..], |made| &made.attached);
        if before == made.attached {
            return BTreeSet::new();
        }
        let mut concerned = BTreeSet::new();
        for attached in before {
            if let Some(all) = self.attachments.get_mut(&attached.gateway) {
                all.remove(attached);
                if all.is_empty() {
                    self.attachments.remove(&attached.gateway);
                }
            }
            concerned.insert(attached.gateway.clone());
        }
        for attached in &made.attached {
            let all = self
                .attachments
                .entry(attached.gateway.clone())
                .or_default();
            all.add(attached);
            concerned.insert(attached.gateway.clone());
        }
        concerned
    }

    /// Puts the rules of an object where they belong. The places that are different now.
    fn contribute(&mut self, key: &ResourceKey, made: &Made) -> BTreeSet<Place> {
        let mut concerned = BTreeSet::new();
        let before = self.made.get(key).map(|made| &made.contributions);
        for (place, contribution) in before.into_iter().flatten() {
            if made.contributions.get(place) == Some(contribution) {
                continue;
            }
            if let Some(all) = self.contributions.get_mut(place) {
                all.remove(&contribution.turn());
                if all.is_empty() {
                    self.contributions.remove(place);
                }
            }
            concerned.insert(place.clone());
        }
        for (place, contribution) in &made.contributions {
            if before.and_then(|before| before.get(place)) != Some(contribution) {
                let all = self.contributions.entry(place.clone()).or_default();
                all.insert(contribution.turn(), contribution.clone());
                concerned.insert(place.clone());
            }
        }
        concerned
    }

    /// Replaces what was made of an object.
    fn keep(&mut self, key: ResourceKey, made: Made, done: &mut Rederived) {
        done.visited += 1;
        let before = self.made.remove(&key).unwrap_or_default();
        for (name, gateway) in &before.gateways {
            if made.gateways.get(name) != Some(gateway) {
                self.gateways.remove(name);
                done.gateways.insert(name.clone());
            }
        }
        for (name, gateway) in &made.gateways {
            if before.gateways.get(name) != Some(gateway) {
                self.gateways.insert(name.clone(), gateway.clone());
                done.gateways.insert(name.clone());
            }
        }
        for (name, credential) in &before.credentials {
            if made.credentials.get(name) != Some(credential) {
                remove(&mut self.credentials, name, &key);
                done.credentials.insert(name.clone());
            }
        }
        for (name, credential) in &made.credentials {
            if before.credentials.get(name) != Some(credential) {
                let all = self.credentials.entry(name.clone()).or_default();
                all.insert(key.clone(), credential.clone());
                done.credentials.insert(name.clone());
            }
        }
        if before.feedback != made.feedback {
            done.feedback.insert(key.clone());
            match &made.feedback {
                Some(feedback) => self.feedback.insert(key.clone(), feedback.clone()),
                None => self.feedback.remove(&key),
            };
        }
        if made != Made::default() {
            self.made.insert(key, made);
        }
    }

    /// Makes the VirtualService of a place from everything that is there.
    fn build(&mut self, place: Place, done: &mut Rederived) {
        let all = self.contributions.get(&place);
        done.visited += all.map_or(0, BTreeMap::len);
        let after = all.and_then(|all| place.virtual_service(all));
        if let Some(name) = self.placed.remove(&place) {
            let before = self.virtual_services.get(&name);
            if before.and_then(|places| places.get(&place)) == after.as_ref() {
                self.placed.insert(place, name);
                return;
            }
            remove(&mut self.virtual_services, &name, &place);
            done.virtual_services.insert(name);
        }
        if let Some(after) = after {
            let name = after.meta().key.clone();
            self.placed.insert(place.clone(), name.clone());
            let places = self.virtual_services.entry(name.clone()).or_default();
            places.insert(place, after);
            done.virtual_services.insert(name);
        }
    }
}

fn remove<K: Ord, O: Ord, V>(map: &mut BTreeMap<K, BTreeMap<O, V>>, key: &K, owner: &O) {
    if let Some(values) = map.get_mut(key) {
        values.remove(owner);
        if values.is_empty() {
            map.remove(key);
        }
    }
}

#[cfg(test)]
mod tests;
