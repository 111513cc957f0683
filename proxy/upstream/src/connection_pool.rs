//! HTTP connections to one endpoint, kept by one worker.
//!
//! A request that finds no usable connection waits; each new connection is made by a task of its own, so that
//! it outlives the request that asked for it, and is handed to whoever waits first. That task then drives the
//! connection to its end. An HTTP/1 connection comes back to the pool when its response has ended and hyper
//! says that it is ready; the driving task notices, so that no request needs a task of its own for it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::circuit_breaker::{Permit, Resource};
use super::connect::ConnectError;
use super::http_connection::{Connection, Http1Connection, Http2Connection, establish};
use super::{ClusterCore, Host};
use crate::config::cluster::{RoutingPriority, UpstreamProtocol};
use crate::telemetry::stats::{ClusterCells, Gauge};

/// Connections of one protocol and one server name.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) key: PoolKey,
    cluster: Rc<ClusterCore>,
    host: RefCell<std::rc::Weak<Host>>,
    /// Usable at once, the one used last at the end.
    idle: RefCell<Vec<Idle>>,
    /// Multiplexed connections that take more requests.
    multiplexed: RefCell<Vec<Rc<Http2Connection>>>,
    waiting: RefCell<VecDeque<Waiter>>,
    /// Connections being made.
    connecting: Cell<u32>,
    /// HTTP/1 connections that exist, idle or not.
    open: Cell<u32>,
    /// No new requests: the host was removed.
    retired: Cell<bool>,
}

/// What connections of a pool have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PoolKey {
    pub(super) protocol: PoolProtocol,
    /// SNI in place of the configured one (`auto_sni`).
    pub(super) sni: Option<Box<str>>,
}

/// What is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PoolProtocol {
    Http1,
    Http2,
    /// Whatever ALPN says.
    Auto,
}

impl PoolProtocol {
    pub(super) fn of(configured: UpstreamProtocol, downstream: http::Version) -> Self {
        match configured {
            UpstreamProtocol::Http1 => Self::Http1,
            UpstreamProtocol::Http2 => Self::Http2,
            UpstreamProtocol::Auto => Self::Auto,
            UpstreamProtocol::Downstream if downstream == http::Version::HTTP_2 => Self::Http2,
            UpstreamProtocol::Downstream => Self::Http1,
        }
    }
}

#[derive(Debug)]
struct Idle {
    connection: Rc<Http1Connection>,
    since: Instant,
}

#[derive(Debug)]
struct Waiter {
    priority: RoutingPriority,
    deliver: oneshot::Sender<Result<Connection, ConnectError>>,
}

impl Pool {
    pub(super) fn new(key: PoolKey, cluster: Rc<ClusterCore>, host: &Rc<Host>) -> Rc<Self> {
        Rc::new(Self {
            key,
            cluster,
            host: RefCell::new(Rc::downgrade(host)),
            idle: RefCell::default(),
            multiplexed: RefCell::default(),
            waiting: RefCell::default(),
            connecting: Cell::new(0),
            open: Cell::new(0),
            retired: Cell::new(false),
        })
    }

    /// The counters of the cluster.
    pub(super) fn cells(&self) -> &ClusterCells {
        &self.cluster.cells
    }

    /// A connection that can take a request now.
    pub(super) async fn acquire(
        self: &Rc<Self>,
        priority: RoutingPriority,
    ) -> Result<Connection, ConnectError> {
        if let Some(connection) = self.usable() {
            return Ok(connection);
        }
        let cluster = &self.cluster;
        let cells = &cluster.cells;
        let pending = cluster
            .config
            .circuit_breakers
            .acquire(Resource::PendingRequests, priority);
        let _permit = pending.inspect_err(|_| cells.upstream_rq_pending_overflow.inc())?;
        cells.upstream_rq_pending_total.inc();
        let _pending = Gauge::new(cells.clone(), |cells| &cells.upstream_rq_pending_active);
        let (deliver, delivered) = oneshot::channel();
        self.waiting
            .borrow_mut()
            .push_back(Waiter { priority, deliver });
        self.connect_if_needed();
        delivered
            .await
            .unwrap_or_else(|_| Err(ConnectError::Socket("pool closed".into())))
    }

    /// Takes a connection back, or a new one in: the first who waits gets it.
    pub(super) fn offer(self: &Rc<Self>, connection: Rc<Http1Connection>) {
        if self.retired.get() || connection.spent() {
            return connection.close();
        }
        let mut connection = Connection::Http1(connection);
        while let Some(waiter) = self.next_waiter() {
            match waiter.deliver.send(Ok(connection)) {
                Ok(()) => return,
                Err(Ok(back)) => connection = back,
                Err(Err(_)) => return,
            }
        }
        if let Connection::Http1(connection) = connection {
            self.idle.borrow_mut().push(Idle {
                connection,
                since: Instant::now(),
            });
        }
    }

    /// A multiplexed connection has room: new, or because a stream ended or the peer allows more.
    pub(super) fn offer_streams(self: &Rc<Self>, connection: &Rc<Http2Connection>) {
        while !self.retired.get() && connection.has_room() {
            let Some(waiter) = self.next_waiter() else {
                return;
            };
            let Some(stream) = connection.open_stream() else {
                return;
            };
            // Refused only if the request is gone; its stream is released by the drop.
            let _ = waiter.deliver.send(Ok(Connection::Http2(stream)));
        }
    }

    /// No new requests: idle connections close now, others when their requests end.
    pub(super) fn retire(&self) {
        self.retired.set(true);
        self.idle
            .borrow_mut()
            .drain(..)
            .for_each(|idle| idle.connection.close());
        self.multiplexed
            .borrow_mut()
            .drain(..)
            .for_each(|connection| connection.close());
        self.waiting.borrow_mut().clear();
    }

    /// Follows an update of the endpoint that leaves its connections as they are.
    pub(super) fn follow(&self, host: &Rc<Host>) {
        *self.host.borrow_mut() = Rc::downgrade(host);
    }

    /// Closes what was idle for too long or lives for too long.
    pub(super) fn sweep(&self, now: Instant) {
        let keep = |idle_since: Option<Instant>, created: Instant| {
            let options = &self.cluster.config.http;
            let over = |since: Instant, limit: Option<Duration>| {
                limit.is_some_and(|limit| now.saturating_duration_since(since) >= limit)
            };
            let idle_too_long = idle_since.is_some_and(|since| over(since, options.idle_timeout));
            if idle_too_long {
                self.cluster.cells.upstream_cx_idle_timeout.inc();
            }
            !idle_too_long && !over(created, options.max_connection_duration)
        };
        self.idle.borrow_mut().retain(|idle| {
            let keep = keep(Some(idle.since), idle.connection.created);
            if !keep {
                idle.connection.close();
            }
            keep
        });
        self.multiplexed.borrow_mut().retain(|connection| {
            let keep = keep(connection.idle_since(), connection.created);
            if !keep {
                connection.close();
            }
            keep
        });
    }

    /// Takes a connection back that was not used after all.
    pub(super) fn give_back(self: &Rc<Self>, connection: Connection) {
        if let Connection::Http1(connection) = connection {
            self.offer(connection);
        }
    }

    /// True if the pool may be forgotten: nothing is open and nobody waits.
    pub(super) fn is_disposable(self: &Rc<Self>) -> bool {
        self.is_empty() && Rc::strong_count(self) == 1
    }

    /// True if nothing is open or being opened.
    fn is_empty(&self) -> bool {
        self.open.get() == 0 && self.connecting.get() == 0 && self.multiplexed.borrow().is_empty()
    }

    fn usable(&self) -> Option<Connection> {
        let multiplexed = self.multiplexed.borrow();
        if let Some(stream) = multiplexed.iter().find_map(Http2Connection::open_stream) {
            return Some(Connection::Http2(stream));
        }
        drop(multiplexed);
        let mut idle = self.idle.borrow_mut();
        while let Some(Idle { connection, .. }) = idle.pop() {
            // Closed by the peer since it was last used: hyper has seen the end of the stream.
            if connection.is_ready() {
                return Some(Connection::Http1(connection));
            }
        }
        None
    }

    fn next_waiter(&self) -> Option<Waiter> {
        let mut waiting = self.waiting.borrow_mut();
        std::iter::from_fn(|| waiting.pop_front()).find(|waiter| !waiter.deliver.is_closed())
    }

    /// Starts as many connections as the waiting requests need and the circuit breaker allows.
    fn connect_if_needed(self: &Rc<Self>) {
        self.waiting
            .borrow_mut()
            .retain(|waiter| !waiter.deliver.is_closed());
        loop {
            let waiting = self.waiting.borrow().len() as u64;
            let expected = u64::from(self.connecting.get()) * self.streams_per_connection();
            if waiting <= expected {
                return;
            }
            let priority = self
                .waiting
                .borrow()
                .front()
                .map_or_else(Default::default, |w| w.priority);
            let Some(permit) = self.connection_permit(priority) else {
                return;
            };
            self.connecting.set(self.connecting.get() + 1);
            tokio::task::spawn_local(run(self.clone(), permit));
        }
    }

    /// How many of the waiting requests one connection will serve at once.
    fn streams_per_connection(&self) -> u64 {
        match self.key.protocol {
            PoolProtocol::Http1 | PoolProtocol::Auto => 1,
            PoolProtocol::Http2 => self.cluster.config.http.http2.max_concurrent_streams.into(),
        }
    }

    fn connection_permit(&self, priority: RoutingPriority) -> Option<Permit> {
        let cluster = &self.cluster;
        let breakers = &cluster.config.circuit_breakers;
        match breakers.acquire(Resource::Connections, priority) {
            Ok(permit) => Some(permit),
            Err(_) => {
                cluster.cells.upstream_cx_overflow.inc();
                self.is_empty().then(|| breakers.force_connection(priority))
            }
        }
    }

    /// As Envoy does: a failed connection fails everyone who waits in this pool.
    fn fail_waiting(&self, error: &ConnectError) {
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        let cluster = &self.cluster;
        for waiter in waiting {
            cluster.cells.upstream_rq_pending_failure_eject.inc();
            let _ = waiter.deliver.send(Err(error.clone()));
        }
    }

    fn remove_multiplexed(&self, connection: &Rc<Http2Connection>) {
        self.multiplexed
            .borrow_mut()
            .retain(|other| !Rc::ptr_eq(other, connection));
    }

    fn remove_idle(&self, connection: &Rc<Http1Connection>) {
        self.idle
            .borrow_mut()
            .retain(|idle| !Rc::ptr_eq(&idle.connection, connection));
    }
}

/// Makes a connection, hands it out and drives it to its end.
async fn run(pool: Rc<Pool>, permit: Permit) {
    let host = pool.host.borrow().upgrade();
    let Some(host) = host else {
        return;
    };
    let cluster = pool.cluster.clone();
    let established = establish(&pool, &cluster, &host, permit).await;
    drop(host);
    pool.connecting.set(pool.connecting.get() - 1);
    match established {
        Err(error) => {
            tracing::debug!(cluster = %cluster.config.name, %error, "upstream connection failed");
            pool.fail_waiting(&error);
        }
        Ok(super::http_connection::Established::Http1(connection, driver)) => {
            drop(cluster);
            pool.open.set(pool.open.get() + 1);
            pool.offer(connection.clone());
            driver.drive(&pool, &connection).await;
            pool.open.set(pool.open.get() - 1);
            pool.remove_idle(&connection);
        }
        Ok(super::http_connection::Established::Http2(connection, driver)) => {
            drop(cluster);
            if !pool.retired.get() {
                pool.multiplexed.borrow_mut().push(connection.clone());
            }
            pool.offer_streams(&connection);
            driver.drive(&pool, &connection).await;
            pool.remove_multiplexed(&connection);
        }
    }
    // A place under the connection limit may have become free for requests that still wait.
    pool.connect_if_needed();
}
