//! One proxy's stream: requests and new worlds in, responses out.
//!
//! A stream is driven by whoever polls it (the gRPC server), so it needs no task of its own and
//! ends when it is dropped. Responses are made in the order clusters, endpoints, listeners,
//! routes; what no longer exists is removed once the proxy has acknowledged everything new, so
//! that a route never names a cluster that is already gone.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use futures_util::Stream;
use mesh_api::identity::SpiffeId;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use xds::delta::{Layers, Pass, Server};
use xds::envoy::discovery::DeltaDiscoveryRequest;
use xds::resource::DeltaDiscoveryResponse;
use xds::type_url::ResourceType;

use super::authenticate::{PeerIdentity, authenticate};
use super::push_queue::PushQueue;
use super::readable::Readable;
use super::refusals::Refusals;
use super::registry::{Registration, Registry};
use crate::access::Questions;
use crate::caller::Caller;
use crate::metrics::Metrics;
use crate::node::Node;
use crate::world::{Change, ProxyResources, World};

/// Bytes of a proxy's reason for a refusal that are logged: it chooses the length.
const NACK_BYTES_MAX: usize = 4096;

/// What every connection shares.
#[derive(Debug)]
pub struct Shared {
    /// Who is connected.
    pub registry: Registry,
    /// Who was refused.
    pub refusals: Refusals,
    /// Places for pushes.
    pub push_queue: PushQueue,
    /// Counters.
    pub metrics: Metrics,
    /// Where it is asked who may read Secrets.
    pub(crate) questions: Questions,
    /// Ends all streams.
    pub shutdown: CancellationToken,
}

/// What the listener knows of who opened a stream.
#[derive(Debug)]
pub struct Peer {
    /// What was proven.
    pub identity: Option<PeerIdentity>,
    /// Where the connection comes from.
    pub address: Option<IpAddr>,
}

/// A stream's state.
pub struct Connection {
    shared: Arc<Shared>,
    worlds: watch::Receiver<Arc<World>>,
    peer: Peer,
    requests: Streaming<DeltaDiscoveryRequest>,
    server: Server,
    proxy: Option<Proxy>,
    outbox: VecDeque<DeltaDiscoveryResponse>,
    /// Types of which the client may lack something.
    stale: BTreeMap<ResourceType, Stale>,
    /// Types of which the client may have too much.
    removals: BTreeSet<ResourceType>,
}

/// What a client may lack of a type.
enum Stale {
    /// Anything.
    Anything,
    /// These, at most.
    Names(Vec<Arc<str>>),
}

/// What is known once the node has introduced itself.
struct Proxy {
    caller: Caller,
    readable: Readable,
    resources: Arc<ProxyResources>,
    registration: Registration,
}

/// What a stream waits for.
enum Event {
    Request(Option<Box<DeltaDiscoveryRequest>>),
    NewWorld,
    /// Other Secrets may be read than before.
    NewAccess,
    Shutdown,
}

impl Connection {
    /// A stream of which nothing has been read yet.
    pub fn new(
        shared: Arc<Shared>,
        worlds: watch::Receiver<Arc<World>>,
        peer: Peer,
        requests: Streaming<DeltaDiscoveryRequest>,
    ) -> Self {
        Self {
            shared,
            worlds,
            peer,
            requests,
            server: Server::default(),
            proxy: None,
            outbox: VecDeque::new(),
            stale: BTreeMap::new(),
            removals: BTreeSet::new(),
        }
    }

    /// The responses, until the client ends the stream, an error occurs or the server shuts down.
    pub fn responses(self) -> impl Stream<Item = Result<DeltaDiscoveryResponse, Status>> {
        futures_util::stream::unfold(Some(self), |connection| async move {
            let mut connection = connection?;
            match connection.next().await {
                Ok(Some(response)) => Some((Ok(response), Some(connection))),
                Ok(None) => None,
                Err(status) => Some((Err(status), None)),
            }
        })
    }

    async fn next(&mut self) -> Result<Option<DeltaDiscoveryResponse>, Status> {
        loop {
            if let Some(response) = self.outbox.pop_front() {
                self.shared.metrics.pushed(&response);
                return Ok(Some(response));
            }
            match self.event().await? {
                Event::Request(Some(request)) => self.on_request(&request).await?,
                Event::NewWorld | Event::NewAccess => self.refresh().await,
                Event::Request(None) | Event::Shutdown => return Ok(None),
            }
            self.publish();
        }
    }

    async fn event(&mut self) -> Result<Event, Status> {
        let introduced = self.proxy.is_some();
        tokio::select! {
            biased;
            () = self.shared.shutdown.cancelled() => Ok(Event::Shutdown),
            request = self.requests.message() => Ok(Event::Request(request?.map(Box::new))),
            changed = self.worlds.changed(), if introduced => {
                Ok(if changed.is_ok() { Event::NewWorld } else { Event::Shutdown })
            }
            () = new_access(self.proxy.as_mut()) => Ok(Event::NewAccess),
        }
    }

    async fn on_request(&mut self, request: &DeltaDiscoveryRequest) -> Result<(), Status> {
        if self.proxy.is_none() {
            self.introduce(request).await?;
        }
        let accepted = self
            .server
            .on_request(request)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        if let Some(error) = &request.error_detail {
            self.on_nack(accepted.resource_type, &error.message);
        }
        if accepted.asks {
            self.stale.insert(accepted.resource_type, Stale::Anything);
        }
        if !request.initial_resource_versions.is_empty() {
            self.removals.insert(accepted.resource_type);
        }
        if accepted.resource_type == ResourceType::Secret {
            self.follow_access();
        }
        self.flush();
        Ok(())
    }

    /// The first request of the stream: who is this, and what may it have?
    async fn introduce(&mut self, request: &DeltaDiscoveryRequest) -> Result<(), Status> {
        let wire = request.node.as_ref().ok_or(crate::node::NodeError::Missing);
        let node = wire
            .and_then(Node::from_wire)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let identity = self.authenticate(&node)?;
        // Before the first snapshot nothing is known, which is not the same as empty.
        while self.worlds.borrow_and_update().snapshot().version == 0 {
            let changed = self.worlds.changed().await;
            changed.map_err(|_| Status::unavailable("control plane is shutting down"))?;
        }
        let _place = self.shared.push_queue.place().await;
        let node = Arc::new(node);
        let world = self.worlds.borrow_and_update().clone();
        let registration = self.shared.registry.register(Arc::clone(&node));
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
    async fn refresh(&mut self) {
        let shared = Arc::clone(&self.shared);
        let _place = shared.push_queue.place().await;
        let world = self.worlds.borrow_and_update().clone();
        let proxy = self
            .proxy
            .as_mut()
            .expect("only introduced streams wait for anything but requests");
        let before = Arc::clone(&proxy.resources);
        let readable = proxy.readable.namespaces();
        let after = world.resources(&proxy.caller, readable, Some(&before));
        proxy.resources = Arc::clone(&after);
        for resource_type in ResourceType::ALL {
            self.note(resource_type, after.change_since(&before, resource_type));
        }
        self.follow_access();
        self.flush();
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
    fn note(&mut self, resource_type: ResourceType, change: Change<'_>) {
        match change {
            Change::Nothing => {}
            Change::Unknown => {
                self.stale.insert(resource_type, Stale::Anything);
                self.removals.insert(resource_type);
            }
            Change::Names { names, removals } => {
                if removals {
                    self.removals.insert(resource_type);
                }
                let none_yet = || Stale::Names(Vec::new());
                match self.stale.entry(resource_type).or_insert_with(none_yet) {
                    Stale::Anything => {}
                    Stale::Names(earlier) => earlier.extend(names.iter().cloned()),
                }
            }
        }
    }

    fn on_nack(&self, resource_type: ResourceType, message: &str) {
        let message = &message[..message.floor_char_boundary(NACK_BYTES_MAX)];
        let proxy = self.proxy.as_ref();
        let node = proxy.map_or("", |proxy| &proxy.caller.node.id);
        tracing::warn!(node, %resource_type, message, "configuration refused by proxy");
        self.shared.metrics.nacked(resource_type);
    }

    /// Sends what is due: additions type by type, then, once all of it is acknowledged, removals.
    fn flush(&mut self) {
        for resource_type in ResourceType::ALL {
            self.send_additions(resource_type);
        }
        let settled = self
            .server
            .states()
            .all(|(_, state)| !state.acks().is_outstanding());
        if !settled || !self.stale.is_empty() {
            return;
        }
        for resource_type in std::mem::take(&mut self.removals).into_iter().rev() {
            let response = self.respond(resource_type, |server, layers| {
                server.respond(resource_type, layers, Pass::Everything)
            });
            self.outbox.extend(response);
        }
    }

    fn send_additions(&mut self, resource_type: ResourceType) {
        let Some(state) = self.server.state(resource_type) else {
            // Not asked for, so not lacking: the first request will be answered in full.
            self.stale.remove(&resource_type);
            return;
        };
        if state.acks().is_outstanding() || self.is_undecided(resource_type) {
            return;
        }
        let Some(stale) = self.stale.remove(&resource_type) else {
            return;
        };
        let response = self.respond(resource_type, |server, layers| match &stale {
            Stale::Anything => server.respond(resource_type, layers, Pass::Additions),
            Stale::Names(names) => {
                let names = names.iter().map(|name| &**name);
                server.respond_to_change(resource_type, layers, names)
            }
        });
        let Some(response) = response else { return };
        if resource_type == ResourceType::Cluster {
            self.require_endpoints(&response);
        }
        self.outbox.push_back(response);
    }

    fn respond(
        &mut self,
        resource_type: ResourceType,
        respond: impl FnOnce(&mut Server, Layers<'_>) -> Option<DeltaDiscoveryResponse>,
    ) -> Option<DeltaDiscoveryResponse> {
        let proxy = self.proxy.as_ref()?;
        respond(
            &mut self.server,
            Layers(&proxy.resources.layers(resource_type)),
        )
    }

    /// Envoy holds a changed cluster back until it has seen its endpoints again, which it does
    /// not ask for: <https://github.com/envoyproxy/envoy/issues/13009>.
    fn require_endpoints(&mut self, clusters: &DeltaDiscoveryResponse) {
        let ours = self
            .proxy
            .as_ref()
            .is_some_and(|proxy| proxy.caller.node.is_weft());
        if ours || self.server.state(ResourceType::Endpoint).is_none() {
            return;
        }
        for cluster in &clusters.resources {
            self.server.require(ResourceType::Endpoint, &cluster.name);
        }
        self.stale.insert(ResourceType::Endpoint, Stale::Anything);
    }

    /// Shows the stream's state to the debug pages.
    fn publish(&self) {
        if let Some(proxy) = &self.proxy {
            let warnings = proxy.readable.denials();
            let (server, resources) = (&self.server, &proxy.resources);
            proxy.registration.update(server, resources, warnings);
        }
    }
}

async fn new_access(proxy: Option<&mut Proxy>) {
    match proxy {
        Some(proxy) => proxy.readable.changed().await,
        None => std::future::pending().await,
    }
}
