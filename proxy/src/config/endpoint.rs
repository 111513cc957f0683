//! Endpoints as executed (`envoy.config.endpoint.v3.ClusterLoadAssignment`).

use super::ClusterId;

/// The endpoints of one cluster.
#[derive(Debug)]
pub struct LoadAssignment {
    /// The slot of its cluster.
    pub id: ClusterId,
}
