//! Upstreams of one worker: balancing, pools, health.
//!
//! ```text
//! route -> Upstreams::get(cluster) -> pick(host) -> http(host).send(request)
//!                                               \-> tcp(host)
//! ```
//!
//! An [`UpstreamCluster`] is built from a published cluster and its endpoints when it is first used, and again
//! when either is another `Arc` than before. Endpoints that stay keep their connections.
//!
//! This crate does not know routes, filters or where a request came from.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

// The layers below, by their short names.
use proxy_config as config;
use proxy_telemetry as telemetry;
use proxy_tls as tls;

pub mod circuit_breaker;
pub mod connect;
pub mod mark;
pub mod outlier_detection;

mod connection_pool;
mod http_connection;
pub mod load_balancer;
mod original_dst;
pub mod resolve;

pub mod body;
pub mod framing;
mod host;
mod pick;
pub mod runtime;
pub mod shared;
pub mod worker;

pub use connect::{ConnectError, ConnectionFacts, UpstreamStream};
pub use host::Host;
pub use http_connection::{HttpSender, SendError, SendFailure};
pub use outlier_detection::Outcome;
pub use pick::{NoHealthyUpstream, PickContext};
pub use tls::client::UpstreamIo;

use crate::config::ClusterId;
use crate::config::cluster::{Discovery, RoutingPriority};
use crate::telemetry::stats::ClusterCells;
use crate::telemetry::stream_info::WorkerCluster;
use crate::worker::{View, Worker};
use circuit_breaker::{Overflow, Permit, Resource};
use connect::TlsWishes;
use connection_pool::{PoolKey, PoolProtocol};
use load_balancer::LoadBalancer;
use original_dst::OriginalDst;
use shared::{SharedAssignment, SharedCluster};

/// Balancers and connection pools of one worker, by cluster slot.
#[derive(Debug, Default)]
pub struct Upstreams {
    slots: RefCell<Vec<Option<Built>>>,
}

#[derive(Debug)]
struct Built {
    version: u64,
    cluster: Rc<UpstreamCluster>,
}

impl Upstreams {
    /// The cluster in a slot, as `view` has it or newer. `None` if there is no such cluster (flag NC).
    #[inline]
    pub fn get(&self, worker: &Worker, view: &View, id: ClusterId) -> Option<Rc<UpstreamCluster>> {
        let config = view.cluster(id)?;
        let endpoints = view.endpoints(id);
        let mut slots = self.slots.borrow_mut();
        let index = id.0 as usize;
        if let Some(Some(built)) = slots.get(index) {
            // A long request may hold an older view than the one this was built from.
            if built.cluster.is_built_from(config, endpoints) || view.version < built.version {
                return Some(built.cluster.clone());
            }
        }
        if slots.len() <= index {
            slots.resize_with(index + 1, || None);
        }
        let previous = slots[index].take().map(|built| built.cluster);
        let cluster = UpstreamCluster::build(worker, config, endpoints, previous);
        slots[index] = Some(Built {
            version: view.version,
            cluster: cluster.clone(),
        });
        Some(cluster)
    }

    /// Closes what is idle for too long, and drops what is no longer configured. Called about once a second and
    /// after each change of the configuration.
    pub fn sweep(&self, worker: &Worker, view: &View, now: Instant) {
        let used: Vec<u32> = {
            let slots = self.slots.borrow();
            let used = slots.iter().enumerate().filter(|(_, slot)| slot.is_some());
            used.map(|(index, _)| index as u32).collect()
        };
        for id in used.into_iter().map(ClusterId) {
            match self.get(worker, view, id) {
                Some(cluster) => cluster.sweep(now),
                None => {
                    let gone = self.slots.borrow_mut()[id.0 as usize].take();
                    if let Some(gone) = gone {
                        gone.cluster.retire_all();
                    }
                }
            }
        }
    }
}

/// How to connect for HTTP.
#[derive(Debug, Clone, Copy)]
pub struct HttpConnectOptions<'a> {
    /// Whose circuit breakers count.
    pub priority: RoutingPriority,
    /// What the client speaks, for clusters that follow it.
    pub downstream_version: http::Version,
    /// The request's host, for clusters with `auto_sni`.
    pub authority: Option<&'a str>,
}

/// How to connect for TCP.
#[derive(Debug, Clone, Copy, Default)]
pub struct TcpConnectOptions {
    /// Whose circuit breakers count.
    pub priority: RoutingPriority,
}

/// A cluster on one worker.
#[derive(Debug)]
pub struct UpstreamCluster {
    core: Rc<ClusterCore>,
    endpoints: Option<Arc<SharedAssignment>>,
    hosts: Vec<Rc<Host>>,
    balancer: RefCell<LoadBalancer>,
    /// The outlier detection's generation that the balancer was built for.
    generation: Cell<u64>,
    original_dst: Option<OriginalDst>,
}

/// What all hosts of a cluster share, whatever its endpoints are.
#[derive(Debug)]
pub(crate) struct ClusterCore {
    pub(crate) config: Arc<SharedCluster>,
    /// The same for records of streams.
    pub(crate) named: WorkerCluster,
    pub(crate) cells: Arc<ClusterCells>,
}

impl UpstreamCluster {
    fn build(
        worker: &Worker,
        config: &Arc<SharedCluster>,
        endpoints: Option<&Arc<SharedAssignment>>,
        previous: Option<Rc<Self>>,
    ) -> Rc<Self> {
        let kept = previous
            .as_ref()
            .filter(|old| Arc::ptr_eq(&old.core.config, config));
        let core = kept.map_or_else(
            || {
                let cells = worker.telemetry.cluster_cells(&config.stat_name);
                Rc::new(ClusterCore {
                    config: config.clone(),
                    named: Rc::new(config.config.clone()),
                    cells,
                })
            },
            |old| old.core.clone(),
        );
        let mut left: HashMap<SocketAddr, Rc<Host>> = previous
            .iter()
            .flat_map(|old| &old.hosts)
            .map(|host| (host.address(), host.clone()))
            .collect();
        let hosts: Vec<Rc<Host>> = endpoints
            .iter()
            .flat_map(|assignment| &assignment.endpoints)
            .map(|endpoint| {
                let old = left.get(&endpoint.address).cloned();
                let host = Host::build(&core, endpoint, old.as_ref());
                if old.is_some_and(|old| Rc::ptr_eq(&old.state, &host.state)) {
                    left.remove(&endpoint.address);
                }
                host
            })
            .collect();
        left.into_values().for_each(|host| host.retire());
        let original_dst = match &config.discovery {
            Discovery::OriginalDst(options) => {
                let old = kept.and_then(|old| old.original_dst.as_ref());
                Some(old.map_or_else(|| OriginalDst::new(*options), OriginalDst::share))
            }
            _ => None,
        };
        if let (None, Some(old)) = (
            kept,
            previous.as_ref().and_then(|old| old.original_dst.as_ref()),
        ) {
            old.retire_all();
        }
        // Read before the balancer looks at the hosts: what is ejected in between is noticed by the next pick.
        let detection = config.outlier_detection.as_ref();
        let generation = detection.map_or(0, |detection| detection.generation());
        let balancer = LoadBalancer::new(&config.balancing, endpoints.map(|e| &*e.config), &hosts);
        Rc::new(Self {
            balancer: RefCell::new(balancer),
            generation: Cell::new(generation),
            core,
            endpoints: endpoints.cloned(),
            hosts,
            original_dst,
        })
    }

    fn is_built_from(
        &self,
        config: &Arc<SharedCluster>,
        endpoints: Option<&Arc<SharedAssignment>>,
    ) -> bool {
        let same_endpoints = match (&self.endpoints, endpoints) {
            (Some(ours), Some(theirs)) => Arc::ptr_eq(ours, theirs),
            (None, None) => true,
            _ => false,
        };
        same_endpoints && Arc::ptr_eq(&self.core.config, config)
    }

    /// The cluster with what all workers share of it.
    pub fn config(&self) -> &Arc<SharedCluster> {
        &self.core.config
    }

    /// The cluster, for records of streams.
    pub fn named(&self) -> &WorkerCluster {
        &self.core.named
    }

    /// The counters of this worker.
    pub fn cells(&self) -> &Arc<ClusterCells> {
        &self.core.cells
    }

    /// The hosts, healthy or not.
    pub fn hosts(&self) -> &[Rc<Host>] {
        &self.hosts
    }

    /// Chooses a host.
    ///
    /// # Errors
    /// When there is none that may take the request.
    pub fn pick(&self, context: &PickContext<'_>) -> Result<Rc<Host>, NoHealthyUpstream> {
        if let Some(original_dst) = &self.original_dst {
            let host = original_dst.host(&self.core, context.original_destination);
            return host.ok_or(NoHealthyUpstream);
        }
        self.follow_ejections();
        let picked = self.balancer.borrow_mut().pick(context);
        if picked.panic {
            self.core.cells.lb_healthy_panic.inc();
        }
        picked.host.ok_or(NoHealthyUpstream)
    }

    /// Takes a unit of the retry budget or limit; held while the retry runs.
    ///
    /// # Errors
    /// When it is used up: the failure stands (flag URX is not set, `upstream_rq_retry_overflow` counts).
    pub fn admit_retry(&self, priority: RoutingPriority) -> Result<Permit, Overflow> {
        let permit = self
            .core
            .config
            .circuit_breakers
            .acquire(Resource::Retries, priority);
        permit.inspect_err(|_| self.core.cells.upstream_rq_retry_overflow.inc())
    }

    /// A place on a connection to `host` for one HTTP request.
    ///
    /// # Errors
    /// When a circuit breaker is open or no connection can be made.
    pub async fn http(
        &self,
        host: &Rc<Host>,
        options: &HttpConnectOptions<'_>,
    ) -> Result<HttpSender, ConnectError> {
        let http = &self.core.config.http;
        let key = PoolKey {
            protocol: PoolProtocol::of(http.protocol, options.downstream_version),
            sni: options
                .authority
                .filter(|_| http.auto_sni)
                .map(without_port),
        };
        let pool = host.pool(key);
        let connection = pool.acquire(options.priority).await?;
        let breakers = &self.core.config.circuit_breakers;
        match breakers.acquire(Resource::Requests, options.priority) {
            Ok(permit) => Ok(HttpSender::new(connection, host, &pool, permit)),
            Err(overflow) => {
                self.core.cells.upstream_rq_pending_overflow.inc();
                pool.give_back(connection);
                Err(overflow.into())
            }
        }
    }

    /// A connection of its own to `host`.
    ///
    /// # Errors
    /// When the circuit breaker is open or the connection cannot be made.
    pub async fn tcp(
        &self,
        host: &Rc<Host>,
        options: &TcpConnectOptions,
    ) -> Result<UpstreamStream, ConnectError> {
        let cells = &self.core.cells;
        let permit = self
            .core
            .config
            .circuit_breakers
            .acquire(Resource::Connections, options.priority);
        let permit = permit.inspect_err(|_| cells.upstream_cx_overflow.inc())?;
        let connected =
            http_connection::connect_host(&self.core, host, TlsWishes::default(), permit).await;
        let (io, facts) = connected?;
        Ok(UpstreamStream { io, facts })
    }

    fn follow_ejections(&self) {
        let Some(detection) = &self.core.config.outlier_detection else {
            return;
        };
        let generation = detection.generation();
        if self.generation.replace(generation) != generation {
            let balancing = &self.core.config.balancing;
            let rebuilt = LoadBalancer::new(
                balancing,
                self.endpoints.as_ref().map(|e| &*e.config),
                &self.hosts,
            );
            *self.balancer.borrow_mut() = rebuilt;
            if self.core.config.close_connections_on_host_health_failure {
                self.hosts
                    .iter()
                    .filter(|h| h.endpoint.monitor.ejected())
                    .for_each(|h| h.retire());
            }
        }
    }

    fn sweep(&self, now: Instant) {
        for host in &self.hosts {
            host.sweep(now);
        }
        if let Some(original_dst) = &self.original_dst {
            original_dst.sweep(now);
        }
    }

    fn retire_all(&self) {
        self.hosts.iter().for_each(|host| host.retire());
        if let Some(original_dst) = &self.original_dst {
            original_dst.retire_all();
        }
    }
}

fn without_port(authority: &str) -> Box<str> {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    };
    host.into()
}

#[cfg(test)]
pub(crate) mod test_util;
#[cfg(test)]
mod tests;
