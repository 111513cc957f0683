//! A server and a client made of the state machines, for tests: messages pass by function call.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::delta::{Client, Layers, Pass, ResourceMap, Response, Server, SharedResource};
use crate::envoy::discovery::DeltaDiscoveryRequest;
use crate::resource::{Any, DeltaDiscoveryResponse};
use crate::type_url::ResourceType;
use crate::version::Version;

/// A server with resources to set and remove, and one stream at a time.
#[derive(Debug)]
pub struct FakeServer {
    epoch: u32,
    versions: u32,
    resources: BTreeMap<ResourceType, ResourceMap>,
    /// The present stream.
    pub stream: Server,
}

impl FakeServer {
    /// A server without resources; `epoch` tells its versions from those of others.
    pub fn new(epoch: u32) -> Self {
        Self {
            epoch,
            versions: 0,
            resources: BTreeMap::new(),
            stream: Server::default(),
        }
    }

    /// Sets a resource, under a new version if the body changed.
    pub fn set(&mut self, resource_type: ResourceType, name: &str, body: Any) {
        let of_type = self
            .resources
            .entry(resource_type)
            .or_insert_with(ResourceMap::new_sync);
        if of_type
            .get(name)
            .is_some_and(|old| *old.value() == body.value)
        {
            return;
        }
        // Not a hash of the body: of all that may be a version this is what tells two runs apart.
        self.versions += 1;
        let version = format!("{:x}{:08x}", self.epoch, self.versions);
        let version = version.parse::<Version>().expect("hexadecimal");
        let name: Arc<str> = name.into();
        let resource = SharedResource::new(Arc::clone(&name), version, &body.type_url, &body.value);
        of_type.insert_mut(name, resource);
    }

    /// Removes a resource.
    pub fn remove(&mut self, resource_type: ResourceType, name: &str) {
        if let Some(of_type) = self.resources.get_mut(&resource_type) {
            of_type.remove_mut(name);
        }
    }

    /// The bodies of all resources of a type, by name.
    pub fn bodies(&self, resource_type: ResourceType) -> BTreeMap<String, Any> {
        let of_type = self.resources.get(&resource_type).into_iter().flatten();
        let body = |resource: &SharedResource| Any {
            type_url: resource_type.url().to_owned(),
            value: resource.value().clone(),
        };
        of_type
            .map(|(name, resource)| (name.to_string(), body(resource)))
            .collect()
    }

    /// Forgets the stream, as when the connection broke.
    pub fn disconnect(&mut self) {
        self.stream = Server::default();
    }

    /// Takes a request in.
    pub fn receive(&mut self, request: &DeltaDiscoveryRequest) {
        let none = ResourceMap::new_sync();
        let of_type = ResourceType::from_url(&request.type_url);
        let resources = of_type.and_then(|of_type| self.resources.get(&of_type));
        self.stream
            .on_request(request, Layers(&[resources.unwrap_or(&none)]))
            .expect("tests use known types");
    }

    /// The responses that are due, additions before removals.
    pub fn send(&mut self) -> Vec<DeltaDiscoveryResponse> {
        let none = ResourceMap::new_sync();
        let mut responses = Vec::new();
        for pass in [Pass::Additions, Pass::Everything] {
            for resource_type in ResourceType::ALL {
                let resources = self.resources.get(&resource_type).unwrap_or(&none);
                let response = self
                    .stream
                    .respond(resource_type, Layers(&[resources]), pass);
                responses.extend(response.map(Response::into_message));
            }
        }
        responses
    }
}

/// A client that accepts everything but the names it is told to refuse.
#[derive(Debug, Default)]
pub struct FakeClient {
    /// The subscriptions.
    pub client: Client,
    /// Names to refuse.
    pub refuse: BTreeSet<String>,
    accepted: BTreeMap<ResourceType, BTreeMap<String, Any>>,
}

impl FakeClient {
    /// What is in force: the accepted bodies of a type, by name.
    pub fn accepted(&self, resource_type: ResourceType) -> BTreeMap<String, Any> {
        self.accepted
            .get(&resource_type)
            .cloned()
            .unwrap_or_default()
    }

    /// Applies a response and makes the answer.
    pub fn receive(&mut self, response: DeltaDiscoveryResponse) -> Option<DeltaDiscoveryRequest> {
        let update = self.client.on_response(response)?;
        let accepted = self.accepted.entry(update.resource_type).or_default();
        let mut refused = Vec::new();
        for name in &update.removed {
            accepted.remove(name);
        }
        for resource in &update.changed {
            if self.refuse.contains(&resource.name) {
                refused.push((resource.name.clone(), "told to refuse".to_owned()));
            } else {
                let body = resource.resource.clone().unwrap_or_default();
                accepted.insert(resource.name.clone(), body);
            }
        }
        Some(self.client.answer(&update, &refused))
    }

    /// Forgets what is no longer subscribed to.
    pub fn forget_unsubscribed(&mut self) {
        for (resource_type, accepted) in &mut self.accepted {
            accepted.retain(|name, _| self.client.resource(*resource_type, name).is_some());
        }
    }
}

/// Passes messages to and fro until neither side has anything to say, and returns the responses.
pub fn exchange(
    server: &mut FakeServer,
    client: &mut FakeClient,
    first: Vec<DeltaDiscoveryRequest>,
) -> Vec<DeltaDiscoveryResponse> {
    let mut log = Vec::new();
    let mut requests = first;
    loop {
        requests.extend(client.client.pending());
        for request in requests.drain(..) {
            server.receive(&request);
        }
        let responses = server.send();
        if responses.is_empty() {
            return log;
        }
        for response in responses {
            log.push(response.clone());
            requests.extend(client.receive(response));
        }
    }
}

/// A body for tests: any bytes under a type's URL.
pub fn body(resource_type: ResourceType, content: impl Into<Arc<str>>) -> Any {
    let content: Arc<str> = content.into();
    Any {
        type_url: resource_type.url().to_owned(),
        value: content.as_bytes().to_vec().into(),
    }
}
