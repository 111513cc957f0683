//! What the choice of a host depends on.

use std::net::SocketAddr;

use crate::config::metadata::Struct;

/// What a pick depends on.
#[derive(Debug, Clone, Default)]
pub struct PickContext<'a> {
    /// The route's hash policy (ring hash, Maglev); random if there is none.
    pub hash: Option<u64>,
    /// `metadata_match` of the route, filter `envoy.lb` (subset balancing).
    pub metadata_match: Option<&'a Struct>,
    /// Where the client wanted to go (`ORIGINAL_DST`).
    pub original_destination: Option<SocketAddr>,
    /// Hosts to avoid (retry predicate `previous_hosts`).
    pub tried: &'a [SocketAddr],
    /// How often to pick again when a host is to be avoided (`host_selection_retry_max_attempts`).
    pub attempts: u32,
}

/// No host can take the request (flag UH).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no healthy upstream")]
pub struct NoHealthyUpstream;
