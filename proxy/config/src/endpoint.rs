//! Endpoints as executed (`envoy.config.endpoint.v3.ClusterLoadAssignment`).

use std::net::SocketAddr;
use std::sync::Arc;

use super::ClusterId;
use super::metadata::Metadata;
use super::secret::ResourceSource;
use crate::peer::Peer;

/// The endpoints of one cluster. Names of DNS clusters are resolved already.
#[derive(Debug, Clone)]
pub struct LoadAssignment {
    /// The slot of its cluster.
    pub id: ClusterId,
    /// Endpoints by priority, 0 first. A priority that is not mentioned is empty.
    pub priorities: Vec<Vec<LocalityEndpoints>>,
    /// `policy.overprovisioning_factor` in percent.
    pub overprovisioning_factor: u32,
    /// `policy.weighted_priority_health`: count weights, not hosts, when health is compared.
    pub weighted_priority_health: bool,
    /// The resource as it came.
    pub source: ResourceSource,
}

/// The endpoints of one locality in one priority.
#[derive(Debug, Clone)]
pub struct LocalityEndpoints {
    /// Where they are.
    pub locality: Locality,
    /// `load_balancing_weight` of the locality; 0 if there is none: no load if localities are weighted.
    pub weight: u32,
    /// The endpoints.
    pub endpoints: Vec<Arc<Endpoint>>,
}

/// `envoy.config.core.v3.Locality`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Locality {
    /// Region.
    pub region: Box<str>,
    /// Zone.
    pub zone: Box<str>,
    /// Sub-zone.
    pub sub_zone: Box<str>,
}

/// One endpoint.
#[derive(Debug)]
pub struct Endpoint {
    /// Where it listens.
    pub address: SocketAddr,
    /// `hostname`, for hashing and `auto_host_rewrite`.
    pub hostname: Box<str>,
    /// `load_balancing_weight`, at least 1.
    pub weight: u32,
    /// Health as the control plane says.
    pub health: Health,
    /// The endpoint's metadata.
    pub metadata: Metadata,
    /// The workload behind it, from metadata `istio.workload`.
    pub peer: Option<Arc<Peer>>,
}

/// `HealthStatus`, as far as balancing tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Health {
    /// `UNKNOWN`, `HEALTHY`.
    Healthy,
    /// `DEGRADED`: used when there are too few healthy ones.
    Degraded,
    /// `UNHEALTHY`, `TIMEOUT`: used in panic only.
    Unhealthy,
    /// `DRAINING`: used in panic only; running requests finish.
    Draining,
}

impl LoadAssignment {
    /// No endpoints.
    pub fn empty(id: ClusterId) -> Self {
        Self {
            id,
            priorities: Vec::new(),
            overprovisioning_factor: OVERPROVISIONING_FACTOR,
            weighted_priority_health: false,
            source: ResourceSource::default(),
        }
    }

    /// All endpoints with their priority and locality.
    pub fn endpoints(&self) -> impl Iterator<Item = (usize, &LocalityEndpoints, &Arc<Endpoint>)> {
        self.priorities
            .iter()
            .enumerate()
            .flat_map(|(priority, localities)| {
                localities.iter().flat_map(move |locality| {
                    locality
                        .endpoints
                        .iter()
                        .map(move |endpoint| (priority, locality, endpoint))
                })
            })
    }
}

/// Envoy's default `overprovisioning_factor`.
pub const OVERPROVISIONING_FACTOR: u32 = 140;
