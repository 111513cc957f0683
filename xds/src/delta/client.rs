//! The client's side: what it wants, what it has, and its answers.
//!
//! The client outlives its streams: [`Client::connect`] starts a new one with the subscriptions
//! and versions of the old, so that after a reconnection only the difference travels. A refused
//! resource keeps its last good version, and that is the version the client reports.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::subscription::{Subscription, WILDCARD};
use crate::envoy::discovery::DeltaDiscoveryRequest;
use crate::pb::google::rpc::Status;
use crate::resource::{DeltaDiscoveryResponse, Resource};
use crate::type_url::ResourceType;

/// gRPC's `INVALID_ARGUMENT`, the code of a refusal.
const INVALID_ARGUMENT: i32 = 3;

/// What the client knows about a resource that it asked for by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResourceState {
    /// The server has not said anything yet.
    Requested,
    /// There is an accepted version.
    Received(String),
    /// The server says that there is no such resource.
    DoesNotExist,
    /// A version came and was refused, and there was no good one before.
    Rejected,
}

/// A response, to be applied and then answered with [`Client::answer`].
#[derive(Clone, Debug, PartialEq)]
pub struct Update {
    /// The type of the resources.
    pub resource_type: ResourceType,
    /// What is new or changed.
    pub changed: Vec<Resource>,
    /// What no longer exists, or never did.
    pub removed: Vec<String>,
    nonce: String,
}

/// All subscriptions of one client, over its streams.
#[derive(Debug, Default)]
pub struct Client {
    types: BTreeMap<ResourceType, TypeState>,
}

#[derive(Debug, Default)]
struct TypeState {
    subscription: Subscription,
    /// Accepted versions.
    has: HashMap<String, String>,
    /// Asked by name and answered with "there is none".
    absent: BTreeSet<String>,
    /// Refused, with no good version.
    rejected: BTreeSet<String>,
    /// Changes of the subscription that the server has not been told yet.
    subscribe: BTreeSet<String>,
    unsubscribe: BTreeSet<String>,
    /// Whether the server has seen this type on the present stream.
    begun: bool,
}

impl Client {
    /// Asks for a resource, or for all with [`WILDCARD`].
    pub fn subscribe(&mut self, resource_type: ResourceType, name: &str) {
        let state = self.types.entry(resource_type).or_default();
        if state.subscription.add(name) {
            // Even when the server has not heard of an unsubscription yet: the resource was
            // forgotten, and only what is asked for again is sent again.
            state.unsubscribe.remove(name);
            state.subscribe.insert(name.to_owned());
        }
    }

    /// Takes a subscription back and forgets the resource.
    pub fn unsubscribe(&mut self, resource_type: ResourceType, name: &str) {
        let Some(state) = self.types.get_mut(&resource_type) else {
            return;
        };
        if !state.subscription.remove(name) {
            return;
        }
        state.subscribe.remove(name);
        state.unsubscribe.insert(name.to_owned());
        state.absent.remove(name);
        state.rejected.remove(name);
        let subscription = &state.subscription;
        state.has.retain(|name, _| subscription.wants(name));
    }

    /// Subscribes to exactly these names, unsubscribing from others.
    pub fn set_names<'n>(
        &mut self,
        resource_type: ResourceType,
        names: impl IntoIterator<Item = &'n str>,
    ) {
        let wanted: BTreeSet<&str> = names.into_iter().collect();
        let state = self.types.entry(resource_type).or_default();
        let dropped: Vec<String> = state
            .subscription
            .names()
            .filter(|name| !wanted.contains(name))
            .map(ToOwned::to_owned)
            .collect();
        for name in dropped {
            self.unsubscribe(resource_type, &name);
        }
        for name in wanted {
            self.subscribe(resource_type, name);
        }
    }

    /// What is known about a resource; `None` if it is not wanted.
    pub fn resource(&self, resource_type: ResourceType, name: &str) -> Option<ResourceState> {
        let state = self.types.get(&resource_type)?;
        if let Some(version) = state.has.get(name) {
            return Some(ResourceState::Received(version.clone()));
        }
        if state.absent.contains(name) {
            return Some(ResourceState::DoesNotExist);
        }
        if state.rejected.contains(name) {
            return Some(ResourceState::Rejected);
        }
        state
            .subscription
            .wants(name)
            .then_some(ResourceState::Requested)
    }

    /// Starts a new stream: the requests to send first, in the order of types. The caller adds
    /// its node to the first of them.
    pub fn connect(&mut self) -> Vec<DeltaDiscoveryRequest> {
        for state in self.types.values_mut() {
            state.begun = false;
        }
        self.pending()
    }

    /// Requests that tell the server about changed subscriptions.
    pub fn pending(&mut self) -> Vec<DeltaDiscoveryRequest> {
        self.types
            .iter_mut()
            .filter_map(|(t, state)| state.pending(*t))
            .collect()
    }

    /// Takes a response in. `None` when the type was never asked for: there is nothing to apply
    /// and nothing to answer.
    pub fn on_response(&mut self, response: DeltaDiscoveryResponse) -> Option<Update> {
        let resource_type = ResourceType::from_url(&response.type_url)?;
        let state = self.types.get_mut(&resource_type)?;
        // What was unsubscribed while the response was on its way is no longer of interest.
        let mut changed = response.resources;
        changed.retain(|r| state.wants(r));
        Some(Update {
            resource_type,
            changed,
            removed: response.removed_resources,
            nonce: response.nonce,
        })
    }

    /// Notes which resources of an update were refused, with the reason, and makes the answer:
    /// an ACK if there are none, a NACK that names them otherwise. Changed subscriptions ride
    /// along.
    pub fn answer(
        &mut self,
        update: &Update,
        refused: &[(String, String)],
    ) -> DeltaDiscoveryRequest {
        let state = self.types.entry(update.resource_type).or_default();
        state.settle(update, refused);
        let mut request =
            state
                .pending(update.resource_type)
                .unwrap_or_else(|| DeltaDiscoveryRequest {
                    type_url: update.resource_type.url().to_owned(),
                    ..Default::default()
                });
        request.response_nonce = update.nonce.clone();
        request.error_detail = refusal(refused);
        request
    }
}

impl TypeState {
    fn wants(&self, resource: &Resource) -> bool {
        self.subscription.wants(&resource.name)
            || resource
                .aliases
                .iter()
                .any(|alias| self.subscription.wants(alias))
    }

    fn pending(&mut self, resource_type: ResourceType) -> Option<DeltaDiscoveryRequest> {
        let mut request = DeltaDiscoveryRequest {
            type_url: resource_type.url().to_owned(),
            ..Default::default()
        };
        if !self.begun {
            if self.subscription.is_empty() {
                return None;
            }
            self.begun = true;
            self.subscribe.clear();
            self.unsubscribe.clear();
            let wildcard = self.subscription.is_wildcard().then_some(WILDCARD);
            request.resource_names_subscribe = wildcard
                .into_iter()
                .chain(self.subscription.names())
                .map(Into::into)
                .collect();
            request.initial_resource_versions = self.has.clone();
            return Some(request);
        }
        if self.subscribe.is_empty() && self.unsubscribe.is_empty() {
            return None;
        }
        request.resource_names_subscribe =
            std::mem::take(&mut self.subscribe).into_iter().collect();
        request.resource_names_unsubscribe =
            std::mem::take(&mut self.unsubscribe).into_iter().collect();
        Some(request)
    }

    fn settle(&mut self, update: &Update, refused: &[(String, String)]) {
        for name in &update.removed {
            self.has.remove(name);
            self.rejected.remove(name);
            if self.subscription.names().any(|wanted| wanted == name) {
                self.absent.insert(name.clone());
            }
        }
        for resource in &update.changed {
            self.absent.remove(&resource.name);
            if refused.iter().any(|(name, _)| *name == resource.name) {
                if !self.has.contains_key(&resource.name) {
                    self.rejected.insert(resource.name.clone());
                }
            } else {
                self.rejected.remove(&resource.name);
                self.has
                    .insert(resource.name.clone(), resource.version.clone());
            }
        }
    }
}

fn refusal(refused: &[(String, String)]) -> Option<Status> {
    if refused.is_empty() {
        return None;
    }
    let reasons: Vec<_> = refused
        .iter()
        .map(|(name, why)| format!("{name}: {why}"))
        .collect();
    Some(Status {
        code: INVALID_ARGUMENT,
        message: reasons.join("; "),
        details: Vec::new(),
    })
}
