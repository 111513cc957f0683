//! What executes the configuration.
//!
//! The applier decides what is in force and when; a [`Target`] builds the live objects of a resource (sockets, TLS
//! contexts, circuit breakers, filters) when it is applied, says when they are ready, and publishes them when the
//! resource comes into force. Live objects belong to the configuration that they were built from: the applier keeps
//! them beside it and drops them with it.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Instant;

use crate::config::cluster::Cluster;
use crate::config::endpoint::LoadAssignment;
use crate::config::error::ConfigError;
use crate::config::listener::Listener;
use crate::config::route::RouteConfig;
use crate::config::secret::SecretRef;
use crate::config::tls::Secret;
use crate::config::{ClusterId, RouteTableId};

/// Builds live objects and publishes them.
pub trait Target {
    /// A cluster with its live parts.
    type Cluster: Debug;
    /// A listener with its live parts.
    type Listener: Debug;

    /// Builds a cluster. `previous` is the version before: what is counted in it goes on.
    ///
    /// # Errors
    /// When it cannot be executed: the resource is refused.
    fn build_cluster(
        &mut self,
        config: &Arc<Cluster>,
        previous: Option<&Self::Cluster>,
    ) -> Result<Self::Cluster, ConfigError>;

    /// Builds a listener. Parts whose configuration is the same `Arc` in `previous` are taken from it.
    ///
    /// # Errors
    /// When it cannot be executed, an address that cannot be bound among the reasons: the resource is refused.
    fn build_listener(
        &mut self,
        config: &Arc<Listener>,
        previous: Option<&Self::Listener>,
    ) -> Result<Self::Listener, ConfigError>;

    /// Whether the secrets of a cluster are there.
    fn is_cluster_ready(&self, cluster: &Self::Cluster) -> bool;

    /// Whether the secrets of a listener are there.
    fn is_listener_ready(&self, listener: &Self::Listener) -> bool;

    /// A cluster comes into force, or leaves with its endpoints.
    fn set_cluster(&mut self, id: ClusterId, cluster: Option<&Arc<Self::Cluster>>, now: Instant);

    /// The endpoints of a cluster in force change.
    fn set_endpoints(&mut self, id: ClusterId, endpoints: &Arc<LoadAssignment>);

    /// A route configuration comes into force or leaves.
    fn set_routes(&mut self, id: RouteTableId, routes: Option<&Arc<RouteConfig>>);

    /// A listener comes into force or leaves.
    fn set_listener(&mut self, name: &Arc<str>, listener: Option<&Arc<Self::Listener>>);

    /// A secret arrives over ADS or stands in the bootstrap.
    ///
    /// # Errors
    /// When it cannot be used: it is refused, and the one before stays.
    fn set_secret(
        &mut self,
        name: &Arc<str>,
        secret: &Secret,
        origin: SecretOrigin,
    ) -> Result<(), ConfigError>;

    /// A secret of ADS is gone.
    fn remove_secret(&mut self, name: &SecretRef);

    /// Names of secrets that live objects wait for or use.
    fn wanted_secrets(&self) -> Vec<SecretRef>;

    /// What was set since the last call comes into force together.
    fn publish(&mut self, version: u64);

    /// Does what is due by the clock.
    fn tick(&mut self, now: Instant);

    /// When [`Target::tick`] has something to do.
    fn deadline(&self) -> Option<Instant>;
}

/// Where a secret comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretOrigin {
    /// The bootstrap's `static_resources`: never asked for.
    Static,
    /// ADS, in this version.
    Ads(Arc<str>),
}

/// A resource and what was built from it.
#[derive(Debug)]
pub(crate) struct Built<C, L> {
    pub(crate) config: Arc<C>,
    pub(crate) live: Arc<L>,
}

impl<C, L> Clone for Built<C, L> {
    fn clone(&self) -> Self {
        Self {
            config: self.config.clone(),
            live: self.live.clone(),
        }
    }
}
