//! Clusters as executed (`envoy.config.cluster.v3.Cluster`).

use std::sync::Arc;

use super::ClusterId;

/// One cluster.
#[derive(Debug)]
pub struct Cluster {
    /// The resource name.
    pub name: Arc<str>,
    /// Its slot.
    pub id: ClusterId,
}
