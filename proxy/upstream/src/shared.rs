//! What all workers share of a cluster: limits, passive health and TLS contexts, beside the configuration that they
//! are built from. An update of a cluster keeps what is counted; what nothing refers to any more is freed.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;

use crate::circuit_breaker::CircuitBreakers;
use crate::config::cluster::{self, Cluster};
use crate::config::endpoint::{Endpoint, LoadAssignment};
use crate::config::error::{ConfigError, Within};
use crate::config::metadata::Metadata;
use crate::outlier_detection::{HostMonitor, OutlierDetection};
use crate::tls::client::ClientTls;
use crate::tls::secret_store::SecretStore;

/// A cluster with its live parts. Reads as its configuration otherwise.
#[derive(Debug)]
pub struct SharedCluster {
    /// What it is built from.
    pub config: Arc<Cluster>,
    /// Concurrency limits by routing priority.
    pub circuit_breakers: CircuitBreakers,
    /// Passive health checking; `None` if not configured.
    pub outlier_detection: Option<OutlierDetection>,
    /// In the order of `transport_socket_matches`, then the default.
    sockets: Vec<TransportSocket>,
}

/// How bytes travel.
#[derive(Debug, Clone)]
pub enum TransportSocket {
    /// `raw_buffer`.
    Raw,
    /// `tls`.
    Tls(Arc<ClientTls>),
}

impl SharedCluster {
    /// The live parts of a cluster. The concurrency that is counted in the version before goes on.
    ///
    /// # Errors
    /// When a TLS context cannot be built.
    pub fn new(
        config: Arc<Cluster>,
        secrets: &SecretStore,
        previous: Option<&Self>,
    ) -> Result<Self, ConfigError> {
        let limits = &config.circuit_breakers;
        let circuit_breakers = match previous {
            Some(previous) => previous
                .circuit_breakers
                .with_limits(limits.default, limits.high),
            None => CircuitBreakers::new(limits.default, limits.high),
        };
        Ok(Self {
            sockets: sockets(&config.transport, secrets)?,
            circuit_breakers,
            outlier_detection: config.outlier_detection.clone().map(OutlierDetection::new),
            config,
        })
    }

    /// Goes on with what outlier detection found out in the version that this one replaces, and returns whether it may.
    ///
    /// Ejections and counts belong to the settings by which they came about, and go with them: a host that the old
    /// settings ejected must not stay away without them, nor a count be compared with another threshold. Differs from
    /// Envoy, which forgets them with every update of the cluster.
    pub fn take_over_health(&self, replaced: Option<&Self>) -> bool {
        let before = replaced.and_then(|cluster| cluster.outlier_detection.as_ref());
        match (before, &self.outlier_detection) {
            (None, None) => true,
            (Some(before), Some(detection)) if before.settings == detection.settings => {
                detection.adopt(before);
                true
            }
            _ => false,
        }
    }

    /// Whether all secrets of its TLS contexts have arrived.
    pub fn ready(&self) -> bool {
        self.sockets.iter().all(|socket| match socket {
            TransportSocket::Raw => true,
            TransportSocket::Tls(tls) => tls.ready(),
        })
    }

    /// The socket for an endpoint with this metadata.
    pub fn socket_for(&self, metadata: &Metadata) -> &TransportSocket {
        let position = self.config.transport.position(metadata);
        &self.sockets[position.unwrap_or(self.sockets.len() - 1)]
    }
}

impl Deref for SharedCluster {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.config
    }
}

fn sockets(
    transport: &cluster::Transport,
    secrets: &SecretStore,
) -> Result<Vec<TransportSocket>, ConfigError> {
    let build = |socket: &cluster::TransportSocket| match socket {
        cluster::TransportSocket::Raw => Ok(TransportSocket::Raw),
        cluster::TransportSocket::Tls(tls) => {
            let context = ClientTls::new(tls, secrets).within("typed_config");
            context.map(TransportSocket::Tls).within("transport_socket")
        }
    };
    let mut sockets = Vec::with_capacity(transport.matches.len() + 1);
    for (n, entry) in transport.matches.iter().enumerate() {
        let field = format_args!("transport_socket_matches[{n}]");
        sockets.push(build(&entry.socket).within(field)?);
    }
    sockets.push(build(&transport.default)?);
    Ok(sockets)
}

/// An endpoint with its passive health. Reads as its configuration otherwise.
#[derive(Debug, Clone)]
pub struct SharedEndpoint {
    /// What it is.
    pub config: Arc<Endpoint>,
    /// Passive health, kept across updates of the assignment.
    pub monitor: Arc<HostMonitor>,
}

impl Deref for SharedEndpoint {
    type Target = Endpoint;

    fn deref(&self) -> &Endpoint {
        &self.config
    }
}

/// The endpoints of a cluster with their passive health.
#[derive(Debug)]
pub struct SharedAssignment {
    /// What it is built from.
    pub config: Arc<LoadAssignment>,
    /// In the order of [`LoadAssignment::endpoints`].
    pub endpoints: Vec<SharedEndpoint>,
}

impl SharedAssignment {
    /// Endpoints keep the passive health of their address.
    pub fn new(config: Arc<LoadAssignment>, previous: Option<&Self>) -> Self {
        let known: HashMap<SocketAddr, &Arc<HostMonitor>> = previous
            .into_iter()
            .flat_map(|previous| &previous.endpoints)
            .map(|endpoint| (endpoint.address, &endpoint.monitor))
            .collect();
        let monitor = |endpoint: &Endpoint| known.get(&endpoint.address).copied().cloned();
        let endpoints = config
            .endpoints()
            .map(|(_, _, endpoint)| SharedEndpoint {
                config: endpoint.clone(),
                monitor: monitor(endpoint).unwrap_or_default(),
            })
            .collect();
        Self { config, endpoints }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_util::{assignment, lb_endpoint, locality};

    fn shared(endpoints: &[(&str, u32)], previous: Option<&SharedAssignment>) -> SharedAssignment {
        let endpoints = endpoints.iter();
        let endpoints = endpoints.map(|(host, weight)| lb_endpoint(host, 80, *weight));
        let assignment = assignment(vec![locality(0, 1, endpoints.collect())]);
        SharedAssignment::new(Arc::new(assignment), previous)
    }

    #[test]
    fn an_endpoint_that_changed_keeps_its_passive_health() {
        let before = shared(&[("10.0.0.1", 1)], None);
        let after = shared(&[("10.0.0.1", 9), ("10.0.0.2", 1)], Some(&before));
        let monitor =
            |assignment: &SharedAssignment, n: usize| assignment.endpoints[n].monitor.clone();
        assert!(Arc::ptr_eq(&monitor(&before, 0), &monitor(&after, 0)));
        assert!(!Arc::ptr_eq(&monitor(&before, 0), &monitor(&after, 1)));
        let weights: Vec<u32> = after
            .endpoints
            .iter()
            .map(|endpoint| endpoint.weight)
            .collect();
        assert_eq!(weights, [9, 1]);
    }
}
