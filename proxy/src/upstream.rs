//! Upstreams of one worker: balancing, pools, health.

/// Balancers and connection pools of one worker, by cluster slot. Built when a cluster is first used, rebuilt
/// when its configuration or endpoints are no longer the ones it was built from.
#[derive(Debug, Default)]
pub struct Upstreams {}
