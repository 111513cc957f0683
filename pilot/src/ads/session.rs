//! What one stream has said and was sent, and what it is due: all that its requests and new worlds
//! come to, without waiting for anything.
//!
//! Responses are made in the order clusters, endpoints, listeners, routes; what no longer exists is
//! removed once the proxy has acknowledged everything new, so that a route never names a cluster
//! that is already gone.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use mesh_api::identity::SpiffeId;
use tonic::Status;
use xds::delta::{Layers, Pass, Response, Server};
use xds::envoy::discovery::DeltaDiscoveryRequest;
use xds::type_url::ResourceType;

use super::authenticate::{PeerIdentity, authenticate};
use super::connection::Shared;
use super::progress::Progress;
use super::readable::Readable;
use super::registry::Registration;
use crate::caller::Caller;
use crate::metrics;
use crate::node::{Node, NodeError};
use crate::world::{Change, ProxyResources, World};

/// Bytes of a proxy's reason for a refusal that are logged: it chooses the length.
const NACK_BYTES_MAX: usize = 4096;

/// What the listener knows of who opened a stream.
#[derive(Debug)]
pub struct Peer {
    /// What was proven.
    pub identity: Option<PeerIdentity>,
    /// Where the connection comes from.
    pub address: Option<IpAddr>,
}

/// A stream's state.
pub(super) struct Session {
    shared: Arc<Shared>,
    peer: Peer,
    server: Server,
    proxy: Option<Proxy>,
    progress: Progress,
    /// Types of which the client may lack something.
    stale: BTreeMap<ResourceType, Stale>,
    /// Types of which the client may have too much.
    removals: BTreeMap<ResourceType, Stale>,
}

/// What a client may lack of a type, or have too much.
enum Stale {
    /// Anything.
    Anything,
    /// These, at most.
    Names(Vec<Arc<str>>),
}

impl Stale {
    /// Adds to what is stale of a type.
    fn add(all: &mut BTreeMap<ResourceType, Self>, resource_type: ResourceType, more: Self) {
        match (all.get_mut(&resource_type), more) {
            (Some(Self::Anything), _) => {}
            (Some(Self::Names(names)), Self::Names(more)) => names.extend(more),
            (_, more) => drop(all.insert(resource_type, more)),
        }
    }
}

/// What is known once the node has introduced itself.
struct Proxy {
    caller: Caller,
    readable: Readable,
    resources: Arc<ProxyResources>,
    registration: Registration,
    _connected: metrics::Connection,
}

impl Session {
    /// A stream of which nothing has been read yet.
    pub(super) fn new(shared: Arc<Shared>, peer: Peer) -> Self {
        Self {
            shared,
            peer,
            server: Server::default(),
            proxy: None,
            progress: Progress::default(),
            stale: BTreeMap::new(),
            removals: BTreeMap::new(),
        }
    }

    /// Whether the node is known.
    pub(super) fn is_introduced(&self) -> bool {
        self.proxy.is_some()
    }

    /// Whether a request says no more than how a response was taken, so that all it can cause is
    /// what [`Self::is_due`] says.
    pub(super) fn is_answer(&self, request: &DeltaDiscoveryRequest) -> bool {
        let of_type = ResourceType::from_url(&request.type_url);
        self.is_introduced()
            && of_type.is_some_and(|of_type| self.server.state(of_type).is_some())
            && request.resource_names_subscribe.is_empty()
            && request.resource_names_unsubscribe.is_empty()
            && request.initial_resource_versions.is_empty()
    }

    /// Whether [`Self::flush`] may have something to send.
    pub(super) fn is_due(&self) -> bool {
        !self.stale.is_empty() || !self.removals.is_empty()
    }

    /// Takes a request in. The first of the stream says who this is.
    pub(super) fn on_request(
        &mut self,
        request: &DeltaDiscoveryRequest,
        world: &World,
    ) -> Result<(), Status> {
        if self.proxy.is_none() {
            self.introduce(request, world)?;
        }
        self.on_message(request)
    }

    /// Takes a request of an introduced stream in.
    pub(super) fn on_message(&mut self, request: &DeltaDiscoveryRequest) -> Result<(), Status> {
        let of_type = ResourceType::from_url(&request.type_url);
        let resources = self.proxy.as_ref().map(|proxy| &proxy.resources);
        let layers = resources.zip(of_type);
        let layers = layers.map(|(resources, of_type)| resources.layers(of_type));
        let accepted = self
            .server
            .on_request(request, Layers(&layers.unwrap_or_default()))
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        if let Some(error) = &request.error_detail {
            self.progress.give_up();
            self.on_nack(accepted.resource_type, &error.message);
        }
        if accepted.asks {
            self.stale.insert(accepted.resource_type, Stale::Anything);
        }
        if !request.initial_resource_versions.is_empty() {
            self.removals
                .insert(accepted.resource_type, Stale::Anything);
        }
        if accepted.resource_type == ResourceType::Secret {
            self.follow_access();
        }
        Ok(())
    }

    /// Who is this, and what may it have?
    fn introduce(&mut self, request: &DeltaDiscoveryRequest, world: &World) -> Result<(), Status> {
        let wire = request.node.as_ref().ok_or(NodeError::Missing);
        let node = wire
            .and_then(Node::from_wire)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let identity = self.authenticate(&node)?;
        let node = Arc::new(node);
        let registration = self.shared.registry.register(Arc::clone(&node));
        self.progress.begin(world.snapshot().version);
        tracing::Span::current().record("node", &node.id);
        tracing::info!(
            node = node.id,
            data_plane = node.data_plane.name(),
            "proxy connected"
        );
        let caller = Caller {
            node,
            identity: identity.clone(),
            address: self.peer.address,
        };
        self.proxy = Some(Proxy {
            _connected: self.shared.metrics.connected(&caller.node.version),
            resources: world.resources(&caller, BTreeSet::new(), None),
            readable: Readable::new(self.shared.questions.clone(), identity),
            caller,
            registration,
        });
        Ok(())
    }

    /// Returns what the peer has proven.
    fn authenticate(&self, node: &Node) -> Result<Option<SpiffeId>, Status> {
        let error = match authenticate(self.peer.identity.as_ref(), node) {
            Ok(identity) => {
                self.peer
                    .address
                    .inspect(|caller| self.shared.refusals.admitted(*caller));
                return Ok(identity);
            }
            Err(error) => error,
        };
        tracing::warn!(node = node.id, %error, "proxy refused");
        let reason = error.to_string();
        if let Some(caller) = self.peer.address {
            let refusals = &self.shared.refusals;
            refusals.refused(caller, &reason, SystemTime::now());
        }
        Err(Status::unauthenticated(reason))
    }

    /// Computes again what the proxy is to have, and notes what may differ.
    pub(super) fn refresh(&mut self, world: &World) {
        let Some(proxy) = &mut self.proxy else { return };
        let before = Arc::clone(&proxy.resources);
        let readable = proxy.readable.namespaces();
        let after = world.resources(&proxy.caller, readable, Some(&before));
        proxy.resources = Arc::clone(&after);
        for resource_type in ResourceType::ALL {
            self.note(resource_type, after.change_since(&before, resource_type));
        }
        let (version, is_behind) = (world.snapshot().version, self.is_due());
        self.progress
            .follow(version, &self.shared.changes, is_behind);
        self.follow_access();
    }

    /// Asks about the Secrets that the proxy wants and does not get without being asked about.
    fn follow_access(&mut self) {
        let secrets = self.server.state(ResourceType::Secret);
        if let (Some(proxy), Some(secrets)) = (&mut self.proxy, secrets) {
            let namespaces = proxy.resources.guarded_namespaces(secrets.subscription());
            proxy.readable.follow(&namespaces);
        }
    }

    /// Whether a type's response waits: Secrets, until it is known which may be read. Without that
    /// a proxy which was connected elsewhere before would be told that its certificates are gone.
    fn is_undecided(&self, resource_type: ResourceType) -> bool {
        let mut proxy = self.proxy.iter();
        resource_type == ResourceType::Secret && proxy.any(|proxy| !proxy.readable.is_settled())
    }

    /// Adds a change to what the client may lack already.
    fn note(&mut self, resource_type: ResourceType, change: Change) {
        match change {
            Change::Nothing => {}
            Change::Unknown => {
                self.stale.insert(resource_type, Stale::Anything);
                self.removals.insert(resource_type, Stale::Anything);
            }
            Change::Names(names) => {
                let gone = self.gone(resource_type, &names);
                if !gone.is_empty() {
                    Stale::add(&mut self.removals, resource_type, Stale::Names(gone));
                }
                Stale::add(&mut self.stale, resource_type, Stale::Names(names));
            }
        }
    }

    /// The names among these of which the proxy is to have nothing.
    fn gone(&self, resource_type: ResourceType, names: &[Arc<str>]) -> Vec<Arc<str>> {
        let Some(proxy) = &self.proxy else {
            return Vec::new();
        };
        let layers = proxy.resources.layers(resource_type);
        let names = names.iter();
        let gone = names.filter(|name| !layers.iter().any(|layer| layer.contains_key(*name)));
        gone.cloned().collect()
    }

    fn on_nack(&self, resource_type: ResourceType, message: &str) {
        let message = &message[..message.floor_char_boundary(NACK_BYTES_MAX)];
        let proxy = self.proxy.as_ref();
        let node = proxy.map_or("", |proxy| &proxy.caller.node.id);
        tracing::warn!(node, %resource_type, message, "configuration refused by proxy");
        self.shared.metrics.nacked(resource_type);
    }

    /// What is due: additions type by type, then, once all of it is acknowledged, removals.
    pub(super) fn flush(&mut self) -> Vec<Response> {
        let additions = ResourceType::ALL.map(|resource_type| {
            let began = Instant::now();
            let response = self.additions(resource_type);
            if response.is_some() {
                self.shared.metrics.made(resource_type, began.elapsed());
            }
            response
        });
        let mut responses: Vec<_> = additions.into_iter().flatten().collect();
        let settled = self
            .server
            .states()
            .all(|(_, state)| !state.acks().is_outstanding());
        if !settled || !self.stale.is_empty() {
            return responses;
        }
        for (resource_type, stale) in std::mem::take(&mut self.removals).into_iter().rev() {
            let response = self.respond_to(resource_type, &stale, Pass::Everything);
            responses.extend(response);
        }
        responses
    }

    fn additions(&mut self, resource_type: ResourceType) -> Option<Response> {
        let Some(state) = self.server.state(resource_type) else {
            // Not asked for, so not lacking: the first request will be answered in full.
            self.stale.remove(&resource_type);
            return None;
        };
        if state.acks().is_outstanding() || self.is_undecided(resource_type) {
            return None;
        }
        let stale = self.stale.remove(&resource_type)?;
        let response = self.respond_to(resource_type, &stale, Pass::Additions);
        if let (ResourceType::Cluster, Some(response)) = (resource_type, &response) {
            self.require_endpoints(response);
        }
        response
    }

    fn respond_to(
        &mut self,
        resource_type: ResourceType,
        stale: &Stale,
        pass: Pass,
    ) -> Option<Response> {
        let layers = self.proxy.as_ref()?.resources.layers(resource_type);
        let (server, layers) = (&mut self.server, Layers(&layers));
        match stale {
            Stale::Anything => server.respond(resource_type, layers, pass),
            Stale::Names(names) => server.respond_to_change(resource_type, layers, names, pass),
        }
    }

    /// Envoy holds a changed cluster back until it has seen its endpoints again, which it does
    /// not ask for: <https://github.com/envoyproxy/envoy/issues/13009>.
    fn require_endpoints(&mut self, clusters: &Response) {
        let ours = self
            .proxy
            .as_ref()
            .is_some_and(|proxy| proxy.caller.node.is_weft());
        if ours || self.server.state(ResourceType::Endpoint).is_none() {
            return;
        }
        for cluster in &clusters.resources {
            self.server.require(ResourceType::Endpoint, cluster.name());
        }
        self.stale.insert(ResourceType::Endpoint, Stale::Anything);
    }

    /// Notes when the proxy has acknowledged everything that it is to have.
    pub(super) fn settle(&mut self) {
        let mut states = self.server.states();
        if self.is_due() || states.any(|(_, state)| state.acks().is_outstanding()) {
            return;
        }
        drop(states);
        if let Some(taken) = self.progress.caught_up() {
            let node = self.proxy.as_ref().map(|proxy| &proxy.caller.node.id);
            tracing::debug!(node, ?taken, "proxy has the new configuration");
            self.shared.metrics.converged(taken);
        }
    }

    /// Shows the stream's state to the debug pages.
    pub(super) fn publish(&self) {
        if let Some(proxy) = &self.proxy {
            let warnings = proxy.readable.denials();
            let (server, resources) = (&self.server, &proxy.resources);
            proxy.registration.update(server, resources, warnings);
        }
    }

    /// Resolves when other Secrets may be read than before.
    pub(super) async fn new_access(&mut self) {
        match &mut self.proxy {
            Some(proxy) => proxy.readable.changed().await,
            None => std::future::pending().await,
        }
    }
}
