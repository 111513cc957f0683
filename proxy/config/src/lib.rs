//! The configuration as it is executed: matchers built, addresses parsed, names resolved to slots.
//!
//! Plain data: what is decoded from the wire is immutable and shared as `Arc`, and everything that did not change
//! is the same `Arc` as before, so that others can tell by pointer what to leave alone. Live objects (sockets, TLS
//! contexts, circuit breakers, filters) are built from it by the layers above and never kept in it.
//! Names are resolved to dense slots ([`ClusterId`], [`RouteTableId`]) when a resource is applied, so that no
//! request hashes a string to find its cluster.
//!
//! Beside the rules stands what they are evaluated over: the head of a request ([`request`]), the facts of a
//! connection ([`connection`]).
//!
//! This crate does not know protobuf, sockets, tasks, TLS libraries or the HTTP library that speaks on the wire.

use std::sync::Arc;

use indexmap::IndexMap;

pub mod error;
pub mod names;
pub mod secret;

pub mod connection;
pub mod peer;
pub mod request;
pub mod response_flags;

pub mod matcher;
pub mod metadata;
pub mod rbac;

pub mod cluster;
pub mod endpoint;
pub mod tls;

pub mod listener;

pub mod filter_chain;
pub mod match_chain;
pub mod tcp_proxy;

pub mod filter;
pub mod format;
pub mod http;
pub mod route;

pub mod access_log;

/// The slot of a cluster name. Slots are given out once per name for the life of the process
/// ([`names::Names`]); a slot without a cluster answers 503 with flag NC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClusterId(pub u32);

/// The slot of a route configuration name (RDS).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouteTableId(pub u32);

/// Everything that workers execute. Immutable; replaced as a whole, shared in its parts.
#[derive(Debug, Default, Clone)]
pub struct Config {
    /// Grows by one with each publication.
    pub version: u64,
    /// Listeners by name, in the order in which they were added.
    pub listeners: IndexMap<Arc<str>, Arc<listener::Listener>>,
    /// Clusters by [`ClusterId`]; `None` for a name that is referred to but not (or no longer) defined.
    pub clusters: Vec<Option<Arc<cluster::Cluster>>>,
    /// Endpoints by [`ClusterId`]: their own slots, because they change far more often than clusters.
    pub endpoints: Vec<Option<Arc<endpoint::LoadAssignment>>>,
    /// Route configurations by [`RouteTableId`].
    pub routes: Vec<Option<Arc<route::RouteConfig>>>,
}

impl Config {
    /// The cluster in a slot.
    #[inline]
    pub fn cluster(&self, id: ClusterId) -> Option<&Arc<cluster::Cluster>> {
        self.clusters.get(id.0 as usize)?.as_ref()
    }

    /// The endpoints in a slot.
    #[inline]
    pub fn endpoints(&self, id: ClusterId) -> Option<&Arc<endpoint::LoadAssignment>> {
        self.endpoints.get(id.0 as usize)?.as_ref()
    }

    /// The route configuration in a slot.
    #[inline]
    pub fn route_config(&self, id: RouteTableId) -> Option<&Arc<route::RouteConfig>> {
        self.routes.get(id.0 as usize)?.as_ref()
    }
}
