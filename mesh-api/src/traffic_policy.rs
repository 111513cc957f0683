//! How to talk to a service: what a DestinationRule means.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::hostname::Hostname;
use crate::labels::{Labels, Selector};
use crate::resource::{Meta, Visibility};

pub mod connection_pool;
pub mod load_balancer;
pub mod outlier_detection;
pub mod tls;

use connection_pool::ConnectionPool;
use load_balancer::LoadBalancer;
use outlier_detection::OutlierDetection;
use tls::ClientTls;

/// One DestinationRule object.
#[derive(Debug, Clone, PartialEq)]
pub struct DestinationRule {
    /// The object.
    pub meta: Meta,
    /// The services it is for.
    pub host: Hostname,
    /// For all of them.
    pub policy: TrafficPolicy,
    /// Named groups of endpoints, in the order written.
    pub subsets: Vec<Subset>,
    /// Who may see it.
    pub visibility: Visibility,
    /// Clients that it applies to, in its own namespace; `None` for all.
    pub workload_selector: Option<Selector>,
}

/// A named group of endpoints.
#[derive(Debug, Clone, PartialEq)]
pub struct Subset {
    /// The name.
    pub name: Arc<str>,
    /// What the endpoints' labels must have.
    pub labels: Labels,
    /// Overrides, block by block.
    pub policy: TrafficPolicy,
}

/// `TrafficPolicy`. A block that is `None` was not written.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TrafficPolicy {
    /// Which endpoint.
    pub load_balancer: Option<LoadBalancer>,
    /// How many connections and requests.
    pub connection_pool: Option<ConnectionPool>,
    /// Which endpoints to avoid.
    pub outlier_detection: Option<OutlierDetection>,
    /// TLS towards the service; `None` is automatic.
    pub tls: Option<ClientTls>,
    /// Retries relative to load.
    pub retry_budget: Option<RetryBudget>,
    /// `portLevelSettings`: replaces the first four blocks for a port as a whole.
    pub ports: BTreeMap<u16, PortPolicy>,
}

/// One `portLevelSettings[]` entry. A block that is `None` goes to the default, not to the upper level.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PortPolicy {
    /// Which endpoint.
    pub load_balancer: Option<LoadBalancer>,
    /// How many connections and requests.
    pub connection_pool: Option<ConnectionPool>,
    /// Which endpoints to avoid.
    pub outlier_detection: Option<OutlierDetection>,
    /// TLS towards the port.
    pub tls: Option<ClientTls>,
}

/// `retryBudget`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryBudget {
    /// Retries in per cent of active requests.
    pub percent: f64,
    /// Retries that are always allowed at once.
    pub min_retry_concurrency: u32,
}

impl TrafficPolicy {
    /// The policy of a port: its own blocks if the port is named, else the general ones.
    pub fn for_port(&self, port: u16) -> PortPolicy {
        self.ports
            .get(&port)
            .cloned()
            .unwrap_or_else(|| PortPolicy {
                load_balancer: self.load_balancer.clone(),
                connection_pool: self.connection_pool.clone(),
                outlier_detection: self.outlier_detection.clone(),
                tls: self.tls.clone(),
            })
    }

    /// This policy with the blocks of a subset laid over it.
    pub fn overlaid(&self, subset: &Self) -> Self {
        let mut ports = self.ports.clone();
        ports.extend(
            subset
                .ports
                .iter()
                .map(|(port, policy)| (*port, policy.clone())),
        );
        Self {
            load_balancer: subset
                .load_balancer
                .clone()
                .or_else(|| self.load_balancer.clone()),
            connection_pool: subset
                .connection_pool
                .clone()
                .or_else(|| self.connection_pool.clone()),
            outlier_detection: subset
                .outlier_detection
                .clone()
                .or_else(|| self.outlier_detection.clone()),
            tls: subset.tls.clone().or_else(|| self.tls.clone()),
            retry_budget: subset.retry_budget.or(self.retry_budget),
            ports,
        }
    }
}
