//! Who is connected, for the debug pages and `meshctl proxy-status`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use serde::Serialize;
use xds::delta::{Server, SyncState, TypeState};

use crate::debug::rfc3339;
use crate::debug::scope::Scope;
use crate::node::Node;
use crate::world::ProxyResources;

/// Proxies that are looked up under one lock.
const BATCH: usize = 64;

/// All streams, by number.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    streams: Arc<Mutex<Streams>>,
}

#[derive(Debug, Default)]
struct Streams {
    last_id: u64,
    by_id: BTreeMap<u64, Stream>,
}

#[derive(Debug)]
struct Stream {
    node: Arc<Node>,
    connected_at: SystemTime,
    world: u64,
    types: BTreeMap<&'static str, TypeStatus>,
    warnings: Vec<String>,
    resources: Option<Arc<ProxyResources>>,
}

/// A connected proxy as the debug pages show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProxyStatus {
    /// `POD.NAMESPACE`.
    pub proxy: String,
    /// The node's id.
    pub id: String,
    /// The pod's first address.
    pub ip: String,
    /// `sidecar` or `router`.
    pub kind: &'static str,
    /// `weft`, `envoy` or another program.
    pub data_plane: String,
    /// The program's version.
    pub version: String,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's cluster.
    pub cluster_id: String,
    /// When the stream began, as RFC 3339.
    pub connected_at: String,
    /// The number of the configuration that was last compared with what the proxy has.
    pub config_version: u64,
    /// Per resource type (`CDS`, …).
    pub types: BTreeMap<&'static str, TypeStatus>,
    /// Why the proxy lacks something that it asked for, such as certificates that it may not read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// How far a proxy is with one type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TypeStatus {
    /// `SYNCED`, `STALE`, `NOT SENT` or `ERROR`.
    pub status: &'static str,
    /// The nonce of the last response.
    pub sent: Option<String>,
    /// The nonce of the last accepted response.
    pub acked: Option<String>,
    /// The proxy's reason for its last refusal.
    pub nack: Option<String>,
    /// How many resources the proxy has.
    pub resources: usize,
}

/// A stream's place in the registry, given up when dropped.
#[derive(Debug)]
pub struct Registration {
    id: u64,
    registry: Registry,
}

impl Registry {
    /// Enters a stream.
    pub fn register(&self, node: Arc<Node>) -> Registration {
        let mut streams = self.lock();
        streams.last_id += 1;
        let id = streams.last_id;
        let stream = Stream {
            node,
            connected_at: SystemTime::now(),
            world: 0,
            types: BTreeMap::new(),
            warnings: Vec::new(),
            resources: None,
        };
        streams.by_id.insert(id, stream);
        Registration {
            id,
            registry: self.clone(),
        }
    }

    /// The number of streams.
    pub fn len(&self) -> usize {
        self.lock().by_id.len()
    }

    /// Whether no one is connected.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All connected proxies.
    pub fn status(&self) -> Vec<ProxyStatus> {
        self.statuses(Scope::Mesh).collect()
    }

    /// The connected proxies that `scope` admits. They are looked up a few at a time, so that discovery
    /// does not wait for a reader.
    pub fn statuses(&self, scope: Scope) -> impl Iterator<Item = ProxyStatus> + use<> {
        let registry = self.clone();
        let mut last_id = 0;
        let batches = std::iter::from_fn(move || {
            let streams = registry.lock();
            let batch = streams.by_id.range(last_id + 1..).take(BATCH);
            let batch: Vec<_> = batch
                .map(|(id, stream)| {
                    last_id = *id;
                    scope
                        .admits(&stream.node.namespace)
                        .then(|| stream.status())
                })
                .collect();
            (!batch.is_empty()).then_some(batch)
        });
        batches.flatten().flatten()
    }

    /// The resources of the proxy whose id, `POD.NAMESPACE` or address is `name`, if `scope` admits it.
    pub fn resources(&self, name: &str, scope: &Scope) -> Option<(Arc<Node>, Arc<ProxyResources>)> {
        let streams = self.lock();
        let stream = streams
            .by_id
            .values()
            .rev()
            .filter(|stream| scope.admits(&stream.node.namespace))
            .find(|stream| stream.is_named(name))?;
        Some((Arc::clone(&stream.node), stream.resources.clone()?))
    }

    fn lock(&self) -> MutexGuard<'_, Streams> {
        // Every write leaves the map whole, so a panic elsewhere does not spoil it.
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registration {
    /// Shows the stream's present state.
    pub fn update(&self, server: &Server, resources: &Arc<ProxyResources>, warnings: Vec<String>) {
        let mut streams = self.registry.lock();
        let Some(stream) = streams.by_id.get_mut(&self.id) else {
            return;
        };
        stream.world = resources.world();
        stream.warnings = warnings;
        stream.resources = Some(Arc::clone(resources));
        stream.types = server
            .states()
            .map(|(t, state)| (t.short_name(), type_status(state)))
            .collect();
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let stream = self.registry.lock().by_id.remove(&self.id);
        if let Some(stream) = stream {
            tracing::info!(node = stream.node.id, "proxy disconnected");
        }
    }
}

impl Stream {
    fn is_named(&self, name: &str) -> bool {
        let node = &self.node;
        node.id == name
            || format!("{}.{}", node.name, node.namespace) == name
            || node.ips.iter().any(|ip| ip.to_string() == name)
    }

    fn status(&self) -> ProxyStatus {
        let node = &self.node;
        ProxyStatus {
            proxy: format!("{}.{}", node.name, node.namespace),
            id: node.id.clone(),
            ip: node
                .ips
                .first()
                .map(ToString::to_string)
                .unwrap_or_default(),
            kind: match node.kind {
                crate::node::NodeKind::Sidecar => "sidecar",
                crate::node::NodeKind::Router => "router",
            },
            data_plane: node.data_plane.name().to_owned(),
            version: node.version.clone(),
            namespace: node.namespace.clone(),
            cluster_id: node.cluster_id.clone(),
            connected_at: rfc3339(self.connected_at),
            config_version: self.world,
            types: self.types.clone(),
            warnings: self.warnings.clone(),
        }
    }
}

fn type_status(state: &TypeState) -> TypeStatus {
    let acks = state.acks();
    TypeStatus {
        status: match acks.state() {
            SyncState::NotSent => "NOT SENT",
            SyncState::Synced => "SYNCED",
            SyncState::Stale => "STALE",
            SyncState::Rejected => "ERROR",
        },
        sent: acks.sent().map(ToOwned::to_owned),
        acked: acks.acked().map(ToOwned::to_owned),
        nack: acks.nack().map(|nack| nack.message.clone()),
        resources: state.resource_count(),
    }
}
