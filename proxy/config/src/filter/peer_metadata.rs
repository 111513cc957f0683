//! `envoy.filters.http.peer_metadata`: which ways workloads tell each other who they are.

use std::sync::Arc;

use crate::peer::Peer;

/// The filter's configuration.
#[derive(Debug, Clone, Default)]
pub struct PeerMetadataConfig {
    /// Which ways metadata goes.
    pub ways: Ways,
    /// The workload that this proxy belongs to.
    pub local: Arc<Peer>,
}

/// Which ways metadata goes (`io.istio.http.peer_metadata.Config`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ways {
    /// `downstream_discovery`: read the client's from the request.
    pub downstream_discovery: bool,
    /// `downstream_propagation`: tell the client in the response.
    pub downstream_propagation: bool,
    /// `upstream_discovery`: read the server's from the response.
    pub upstream_discovery: bool,
    /// `upstream_propagation`: tell the server in the request.
    pub upstream_propagation: bool,
}
