//! The server's side: remembers what each client has and sends the difference.
//!
//! At most one response per type is in flight; changes that come meanwhile are found by the next
//! comparison, so a slow client costs no queue. What a client refused is not sent again until it
//! changes: the client keeps its last good version.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rpds::RedBlackTreeMapSync;

use super::nonce::Acks;
use super::response::{Response, SharedResource};
use super::subscription::{Subscription, WILDCARD};
use crate::envoy::discovery::DeltaDiscoveryRequest;
use crate::type_url::ResourceType;
use crate::version::Version;

/// Names that one stream may be subscribed to of one type. A large mesh has 10,000 services of one or two ports.
pub const NAMES_MAX: usize = 32_768;

/// The bytes of these names. A host has 50 to 100, a cluster's name little more.
pub const NAMES_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Resources of one type, by name. A changed map shares what did not change with the map before.
pub type ResourceMap = RedBlackTreeMapSync<Arc<str>, SharedResource>;

/// All resources of one type that a client may have: what it shares with others and what is its
/// own. Names in different layers differ.
#[derive(Clone, Copy, Debug)]
pub struct Layers<'r>(pub &'r [&'r ResourceMap]);

impl<'r> Layers<'r> {
    fn get(self, name: &str) -> Option<&'r SharedResource> {
        self.0.iter().find_map(|layer| layer.get(name))
    }

    fn iter(self) -> impl Iterator<Item = &'r SharedResource> {
        self.0.iter().flat_map(|layer| layer.values())
    }

    /// A name, shared with the resource that has it.
    fn shared(self, name: &str) -> Arc<str> {
        match self.get(name) {
            Some(resource) => Arc::clone(resource.name()),
            None => name.into(),
        }
    }
}

/// Which half of a difference to send.
///
/// A cluster must exist before a route names it and must not vanish while one still does, so a
/// server sends additions in the order of types, then removals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// New and changed resources, and answers to names that do not exist.
    Additions,
    /// Removals too.
    Everything,
}

/// What a request was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The type it was about.
    pub resource_type: ResourceType,
    /// Whether the client asked for something, so that an answer is due at once.
    pub asks: bool,
    /// Whether a response was answered, so that the next one may be sent.
    pub settles: bool,
}

/// Why a request cannot be served.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The type is not one of ours.
    #[error("unknown resource type: \"{0}\"")]
    UnknownType(String),
    /// The stream would be subscribed to too much.
    #[error(
        "more than {NAMES_MAX} names or {NAMES_BYTES_MAX} bytes of names subscribed to, of type: {0}"
    )]
    TooManyNames(ResourceType),
}

impl RequestError {
    /// Quotes no more than a type's name can have: the error becomes a header.
    fn unknown_type(url: &str) -> Self {
        Self::UnknownType(url[..url.floor_char_boundary(256)].to_owned())
    }
}

/// One stream's state.
#[derive(Debug, Default)]
pub struct Server {
    types: BTreeMap<ResourceType, TypeState>,
}

/// One type of one stream.
#[derive(Debug, Default)]
pub struct TypeState {
    subscription: Subscription,
    acks: Acks,
    /// What the client has, or will have when it has read what is in flight. Of what it has from
    /// an earlier stream only name and version are known.
    has: BTreeSet<SharedResource>,
    /// Names that must be answered even if the client seems to have them already.
    due: BTreeSet<Arc<str>>,
    /// A first request to a type without resources still deserves its (empty) answer.
    answer_due: bool,
}

impl TypeState {
    /// What the client wants.
    pub fn subscription(&self) -> &Subscription {
        &self.subscription
    }

    /// What was sent and how it was answered.
    pub fn acks(&self) -> &Acks {
        &self.acks
    }

    /// How many resources the client has.
    pub fn resource_count(&self) -> usize {
        self.has.len()
    }

    /// The version of a resource that the client has.
    pub fn version_of(&self, name: &str) -> Option<Version> {
        self.has.get(name).map(SharedResource::version)
    }
}

impl Server {
    /// The state of a type, if the client ever asked for it.
    pub fn state(&self, resource_type: ResourceType) -> Option<&TypeState> {
        self.types.get(&resource_type)
    }

    /// All types that the client asked for, in the order of sending.
    pub fn states(&self) -> impl Iterator<Item = (ResourceType, &TypeState)> {
        self.types.iter().map(|(t, state)| (*t, state))
    }

    /// Takes a request in. `resources` are those that the client may have of the request's type:
    /// names are shared with them.
    ///
    /// # Errors
    /// When the type is unknown or too many names are subscribed to; the stream's state is unchanged then.
    pub fn on_request(
        &mut self,
        request: &DeltaDiscoveryRequest,
        resources: Layers<'_>,
    ) -> Result<Request, RequestError> {
        let resource_type = ResourceType::from_url(&request.type_url)
            .ok_or_else(|| RequestError::unknown_type(&request.type_url))?;
        let known = self.types.get(&resource_type);
        let subscription = known.map(TypeState::subscription);
        if !fits(subscription, request) {
            return Err(RequestError::TooManyNames(resource_type));
        }
        let first = known.is_none();
        let state = self.types.entry(resource_type).or_default();

        let error = request
            .error_detail
            .as_ref()
            .map(|status| status.message.as_str());
        let settles = state.acks.answer(&request.response_nonce, error);
        if first {
            state.begin(resource_type, request, resources);
        }
        let asks = state.resubscribe(request, resources, first) || first;
        Ok(Request {
            resource_type,
            asks,
            settles,
        })
    }

    /// Makes sure that the named resource is sent next time, changed or not.
    ///
    /// Envoy waits for the endpoints of a cluster that it was sent anew, even when they are the
    /// endpoints it already has.
    pub fn require(&mut self, resource_type: ResourceType, name: &str) {
        let Some(state) = self.types.get_mut(&resource_type) else {
            return;
        };
        if state.subscription.wants(name) {
            state.due.insert(name.into());
        }
    }

    /// The response that brings the client up to date, if one is due and none is in flight.
    pub fn respond(
        &mut self,
        resource_type: ResourceType,
        resources: Layers<'_>,
        pass: Pass,
    ) -> Option<Response> {
        let state = self.types.get_mut(&resource_type)?;
        if state.acks.is_outstanding() {
            return None;
        }
        let (changed, missing) = state.additions(resources);
        let removed = match pass {
            Pass::Additions => Vec::new(),
            Pass::Everything => state.removals(resources),
        };
        state.send(resource_type, changed, [missing, removed].concat())
    }

    /// Like [`Server::respond`] for a known change: looks at nothing but the given names, which
    /// are removed where they no longer exist and the pass says so.
    pub fn respond_to_change<'n>(
        &mut self,
        resource_type: ResourceType,
        resources: Layers<'_>,
        names: impl IntoIterator<Item = &'n Arc<str>>,
        pass: Pass,
    ) -> Option<Response> {
        let state = self.types.get_mut(&resource_type)?;
        if state.acks.is_outstanding() {
            return None;
        }
        let (mut changed, mut removed) = (Vec::new(), Vec::new());
        let names: BTreeSet<_> = names.into_iter().collect();
        for name in names {
            match resources.get(name) {
                Some(resource) if state.subscription.wants(name) && state.lacks(resource) => {
                    changed.push(resource.clone());
                }
                None if pass == Pass::Everything && state.has.contains(&**name) => {
                    removed.push(Arc::clone(name));
                }
                _ => {}
            }
        }
        state.send(resource_type, changed, removed)
    }
}

/// Whether the names of a request fit beside those of a subscription.
fn fits(subscription: Option<&Subscription>, request: &DeltaDiscoveryRequest) -> bool {
    let known = |name: &&String| subscription.is_some_and(|known| known.contains(name));
    let names = request.resource_names_subscribe.iter();
    let (mut count, mut bytes) = subscription.map_or((0, 0), Subscription::size);
    for name in names.filter(|name| !known(name)) {
        count += 1;
        bytes += name.len();
    }
    count <= NAMES_MAX && bytes <= NAMES_BYTES_MAX
}

impl TypeState {
    /// The first request of a type: the old form of the wildcard, and what the client still has
    /// from an earlier stream.
    fn begin(
        &mut self,
        resource_type: ResourceType,
        request: &DeltaDiscoveryRequest,
        resources: Layers<'_>,
    ) {
        if request.resource_names_subscribe.is_empty() && resource_type.has_wildcard() {
            self.subscription.add(WILDCARD);
        }
        self.answer_due = self.subscription.is_wildcard()
            || request
                .resource_names_subscribe
                .iter()
                .any(|name| name == WILDCARD);
        for (name, version) in &request.initial_resource_versions {
            // A version of another run is not one of ours: the resource counts as outdated.
            let version = version.parse().unwrap_or(Version::UNKNOWN);
            let current = resources.get(name);
            let current = current.filter(|current| current.version() == version);
            let has = current.cloned();
            self.has.insert(
                has.unwrap_or_else(|| SharedResource::known(resources.shared(name), version)),
            );
        }
    }

    fn resubscribe(
        &mut self,
        request: &DeltaDiscoveryRequest,
        resources: Layers<'_>,
        first: bool,
    ) -> bool {
        for name in &request.resource_names_unsubscribe {
            self.subscription.remove(name);
        }
        // Whoever unsubscribes has forgotten the resource, unless the wildcard still covers it.
        let subscription = &self.subscription;
        if !request.resource_names_unsubscribe.is_empty() {
            self.has.retain(|has| subscription.wants(has.name()));
            self.due.retain(|name| subscription.wants(name));
        }
        for name in &request.resource_names_subscribe {
            let shared = resources.shared(name);
            self.subscription.add(Arc::clone(&shared));
            let kept_from_earlier_stream = first && self.has.contains(name.as_str());
            if name != WILDCARD && !kept_from_earlier_stream {
                // The client may have dropped it since: asked again, it is sent again.
                self.has.remove(name.as_str());
                self.due.insert(shared);
            }
        }
        !request.resource_names_subscribe.is_empty()
    }

    /// What is new or changed, and which of the names that are due do not exist.
    fn additions(&self, resources: Layers<'_>) -> (Vec<SharedResource>, Vec<Arc<str>>) {
        let outdated =
            |resource: &&SharedResource| self.due.contains(resource.name()) || self.lacks(resource);
        let changed = if self.subscription.is_wildcard() {
            resources.iter().filter(outdated).cloned().collect()
        } else {
            let wanted = self.subscription.names();
            let wanted = wanted.filter_map(|name| resources.get(name));
            wanted.filter(outdated).cloned().collect()
        };
        let missing = self
            .due
            .iter()
            .filter(|name| resources.get(name).is_none())
            .cloned()
            .collect();
        (changed, missing)
    }

    fn lacks(&self, resource: &SharedResource) -> bool {
        let has = self.has.get(&**resource.name());
        has.is_none_or(|has| has.version() != resource.version())
    }

    fn removals(&self, resources: Layers<'_>) -> Vec<Arc<str>> {
        let names = self.has.iter().map(SharedResource::name);
        let gone = names.filter(|name| resources.get(name).is_none() && !self.due.contains(*name));
        gone.cloned().collect()
    }

    fn send(
        &mut self,
        resource_type: ResourceType,
        changed: Vec<SharedResource>,
        removed: Vec<Arc<str>>,
    ) -> Option<Response> {
        if changed.is_empty() && removed.is_empty() && !self.answer_due {
            return None;
        }
        self.answer_due = false;
        for name in &removed {
            self.has.remove(&**name);
            self.due.remove(name);
        }
        for resource in &changed {
            self.due.remove(resource.name());
        }
        if self.has.is_empty() {
            // Built as a whole, it takes half of the memory.
            self.has = changed.iter().cloned().collect();
        } else {
            for resource in &changed {
                self.has.replace(resource.clone());
            }
        }
        Some(Response {
            resource_type,
            nonce: self.acks.send(),
            resources: changed,
            removed,
        })
    }
}
