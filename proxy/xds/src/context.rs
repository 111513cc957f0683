//! What translations from protobuf need besides the message.

use std::sync::Arc;

use crate::config::listener::Listener;
use crate::config::metadata::Struct;
use crate::config::names::Names;
use crate::config::peer::Peer;
use crate::config::secret::ResourceSource;

/// Passed to every translation: slots for names, who we are.
#[derive(Debug)]
pub struct ApplyContext<'a> {
    /// Gives names their slots.
    pub names: &'a mut Names,
    /// The last good version of the listener that is being translated: filter chains that did not change are
    /// taken from it.
    pub previous_listener: Option<Arc<Listener>>,
    /// This proxy.
    pub node: &'a Arc<Node>,
    /// HTTP filters that are not built in, by the type of the `TypedStruct` that configures them.
    pub further_filters: &'a [Box<str>],
    /// The resource that is being translated, as it came.
    pub source: ResourceSource,
}

/// This proxy, as it introduced itself to the control plane.
#[derive(Debug, Clone, Default)]
pub struct Node {
    /// `node.id`.
    pub id: Arc<str>,
    /// `node.cluster`.
    pub cluster: Arc<str>,
    /// `node.metadata`.
    pub metadata: Struct,
    /// The workload that this proxy belongs to, from the metadata.
    pub peer: Arc<Peer>,
}

impl Node {
    /// From the bootstrap's node.
    pub fn from_proto(proto: &xds::envoy::core::Node) -> Self {
        let metadata: Struct = proto
            .metadata
            .as_ref()
            .map(crate::metadata::fields)
            .unwrap_or_default();
        Self {
            id: proto.id.as_str().into(),
            cluster: proto.cluster.as_str().into(),
            peer: Arc::new(Peer::from_node_metadata(&metadata)),
            metadata,
        }
    }
}
