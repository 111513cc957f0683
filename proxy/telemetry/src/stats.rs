//! Counters of workers, and their sums.
//!
//! A cell is an atomic that only its own worker writes, with a plain load and store: no locked instruction, no
//! cache line that another worker writes. The control thread reads all workers' cells and adds them up.
//! Cells belong to a *scope* (a cluster, a connection manager's `stat_prefix`, a listener); a worker asks the
//! registry for its cells of a scope once, when it first uses it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A number that one thread counts and others read.
#[derive(Debug, Default)]
pub struct Cell(AtomicU64);

impl Cell {
    /// Adds one.
    #[inline]
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `n`. Must only be called by the thread that owns the cell.
    #[inline]
    pub fn add(&self, n: u64) {
        let value = self.0.load(Ordering::Relaxed);
        self.0.store(value.wrapping_add(n), Ordering::Relaxed);
    }

    /// Takes one away. Must only be called by the thread that owns the cell.
    #[inline]
    pub fn dec(&self) {
        self.sub(1);
    }

    /// Takes `n` away. Must only be called by the thread that owns the cell.
    #[inline]
    pub fn sub(&self, n: u64) {
        self.add(n.wrapping_neg());
    }

    /// The value.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! cells {
    ($(#[$doc:meta])* $name:ident { $($(#[doc = $field_doc:literal])* $field:ident: $kind:ident,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        pub struct $name {
            $($(#[doc = $field_doc])* pub $field: Cell,)*
        }

        impl $name {
            /// Names and kinds, in the order of [`Cells::values`].
            pub const FIELDS: &'static [(&'static str, Kind)] =
                &[$((stringify!($field), Kind::$kind)),*];
        }

        impl Cells for $name {
            fn fields() -> &'static [(&'static str, Kind)] {
                Self::FIELDS
            }

            fn descriptions() -> &'static [&'static str] {
                &[$(concat!($($field_doc),*)),*]
            }

            fn values(&self) -> Vec<u64> {
                vec![$(self.$field.get()),*]
            }
        }
    };
}

/// A set of cells that belong together.
pub trait Cells: Default + Send + Sync + 'static {
    /// Names and kinds of the cells.
    fn fields() -> &'static [(&'static str, Kind)];
    /// What each counts, in the same order: their doc comments, which the reference shows.
    fn descriptions() -> &'static [&'static str];
    /// Their values, in the same order.
    fn values(&self) -> Vec<u64>;
}

/// What a cell counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
}

impl Kind {
    /// As Prometheus names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
        }
    }
}

cells! {
    /// Cells of a cluster (`cluster.<name>.*`).
    ClusterCells {
        /// Connections begun.
        upstream_cx_total: Counter,
        /// Connections open.
        upstream_cx_active: Gauge,
        /// HTTP/1 connections made.
        upstream_cx_http1_total: Counter,
        /// HTTP/2 connections made.
        upstream_cx_http2_total: Counter,
        /// Connections that could not be made.
        upstream_cx_connect_fail: Counter,
        /// Connections that could not be made within the timeout.
        upstream_cx_connect_timeout: Counter,
        /// Connections refused by the circuit breaker.
        upstream_cx_overflow: Counter,
        /// Connections closed because they were idle.
        upstream_cx_idle_timeout: Counter,
        /// Connections closed because of `max_requests_per_connection`.
        upstream_cx_max_requests: Counter,
        /// Bytes received (TCP proxy).
        upstream_cx_rx_bytes_total: Counter,
        /// Bytes sent (TCP proxy).
        upstream_cx_tx_bytes_total: Counter,
        /// Requests sent.
        upstream_rq_total: Counter,
        /// Requests active.
        upstream_rq_active: Gauge,
        /// Requests that had to wait for a connection.
        upstream_rq_pending_total: Counter,
        /// Requests waiting for a connection.
        upstream_rq_pending_active: Gauge,
        /// Requests refused by the circuit breaker.
        upstream_rq_pending_overflow: Counter,
        /// Requests failed because their connection could not be made.
        upstream_rq_pending_failure_eject: Counter,
        /// Requests that timed out.
        upstream_rq_timeout: Counter,
        /// Attempts that timed out.
        upstream_rq_per_try_timeout: Counter,
        /// Retries.
        upstream_rq_retry: Counter,
        /// Retries whose response was passed on.
        upstream_rq_retry_success: Counter,
        /// Retries refused by the circuit breaker.
        upstream_rq_retry_overflow: Counter,
        /// Requests over HTTP/2 whose stream the upstream reset.
        upstream_rq_rx_reset: Counter,
        /// Requests over HTTP/2 whose stream the proxy reset: timeout, client gone, response before the end of the request.
        upstream_rq_tx_reset: Counter,
        /// Responses 1xx.
        upstream_rq_1xx: Counter,
        /// Responses 2xx.
        upstream_rq_2xx: Counter,
        /// Responses 3xx.
        upstream_rq_3xx: Counter,
        /// Responses 4xx.
        upstream_rq_4xx: Counter,
        /// Responses 5xx.
        upstream_rq_5xx: Counter,
        /// Endpoints picked in panic mode.
        lb_healthy_panic: Counter,
    }
}

cells! {
    /// Cells of a connection manager (`http.<stat_prefix>.*`).
    HttpCells {
        /// Connections.
        downstream_cx_total: Counter,
        /// Connections open.
        downstream_cx_active: Gauge,
        /// HTTP/1 connections.
        downstream_cx_http1_total: Counter,
        /// HTTP/2 connections.
        downstream_cx_http2_total: Counter,
        /// Malformed requests and connections.
        downstream_cx_protocol_error: Counter,
        /// Connections closed because of the idle timeout.
        downstream_cx_idle_timeout: Counter,
        /// Requests.
        downstream_rq_total: Counter,
        /// Requests active.
        downstream_rq_active: Gauge,
        /// Requests over HTTP/1.
        downstream_rq_http1_total: Counter,
        /// Requests over HTTP/2.
        downstream_rq_http2_total: Counter,
        /// Requests over HTTP/2 whose stream the client reset, or whose connection it closed, before their end.
        downstream_rq_rx_reset: Counter,
        /// Requests with heads beyond the limits.
        downstream_rq_too_large: Counter,
        /// Not Envoy's: requests refused because header memory was at its limit.
        downstream_rq_header_memory_overflow: Counter,
        /// Not Envoy's: memory charged for the headers of requests that wait for a response, in bytes.
        downstream_rq_header_bytes: Gauge,
        /// Responses 1xx.
        downstream_rq_1xx: Counter,
        /// Responses 2xx.
        downstream_rq_2xx: Counter,
        /// Responses 3xx.
        downstream_rq_3xx: Counter,
        /// Responses 4xx.
        downstream_rq_4xx: Counter,
        /// Responses 5xx.
        downstream_rq_5xx: Counter,
        /// Requests without a route.
        no_route: Counter,
        /// Requests to a cluster that does not exist.
        no_cluster: Counter,
    }
}

cells! {
    /// Cells of RBAC filters (`http.<stat_prefix>.rbac.*`, `tcp.<stat_prefix>.rbac.*`).
    RbacCells {
        /// Requests or connections that the rules let pass.
        allowed: Counter,
        /// Those that they refused.
        denied: Counter,
    }
}

cells! {
    /// Cells of a listener (`listener.<address>.*`).
    ListenerCells {
        /// Connections.
        downstream_cx_total: Counter,
        /// Connections open.
        downstream_cx_active: Gauge,
        /// Connections that matched no filter chain.
        no_filter_chain_match: Counter,
        /// Connections closed because listener filters ran out of time.
        downstream_pre_cx_timeout: Counter,
        /// TLS handshakes that succeeded.
        ssl_handshake: Counter,
        /// TLS handshakes that failed, except because of the client's certificate.
        ssl_connection_error: Counter,
        /// TLS handshakes without the client certificate that is required.
        ssl_fail_verify_no_cert: Counter,
        /// TLS handshakes whose client certificate is not valid or not from a known authority.
        ssl_fail_verify_error: Counter,
        /// TLS handshakes whose client certificate has no subject alternative name that is accepted.
        ssl_fail_verify_san: Counter,
        /// TLS handshakes whose client certificate is not one of those that are pinned.
        ssl_fail_verify_cert_hash: Counter,
    }
}

cells! {
    /// Cells of a TCP proxy (`tcp.<stat_prefix>.*`).
    TcpCells {
        /// Connections.
        downstream_cx_total: Counter,
        /// Connections to a cluster that does not exist.
        downstream_cx_no_route: Counter,
        /// Bytes to the client.
        downstream_cx_tx_bytes_total: Counter,
        /// Bytes from the client.
        downstream_cx_rx_bytes_total: Counter,
        /// Connections closed because of the idle timeout.
        idle_timeout: Counter,
    }
}

impl ClusterCells {
    /// Counts a response by its class.
    #[inline]
    pub fn response(&self, status: u16) {
        match status {
            100..200 => self.upstream_rq_1xx.inc(),
            200..300 => self.upstream_rq_2xx.inc(),
            300..400 => self.upstream_rq_3xx.inc(),
            400..500 => self.upstream_rq_4xx.inc(),
            _ => self.upstream_rq_5xx.inc(),
        }
    }
}

impl HttpCells {
    /// Counts a response by its class; 0 is none.
    #[inline]
    pub fn response(&self, status: u16) {
        match status {
            0 => {}
            100..200 => self.downstream_rq_1xx.inc(),
            200..300 => self.downstream_rq_2xx.inc(),
            300..400 => self.downstream_rq_3xx.inc(),
            400..500 => self.downstream_rq_4xx.inc(),
            _ => self.downstream_rq_5xx.inc(),
        }
    }
}

/// One cell of a cluster's.
type ClusterCell = fn(&ClusterCells) -> &Cell;

/// Counts one while it lives: a cell of a cluster goes up now and down on drop.
#[derive(Debug)]
pub struct Gauge {
    cells: Arc<ClusterCells>,
    cell: ClusterCell,
}

impl Gauge {
    /// Counts one in a cell of a cluster.
    pub fn new(cells: Arc<ClusterCells>, cell: ClusterCell) -> Self {
        cell(&cells).inc();
        Self { cells, cell }
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        (self.cell)(&self.cells).dec();
    }
}

/// All cells of one kind of scope, of all workers, by the scope's name or labels.
#[derive(Debug)]
pub struct Scopes<T> {
    scopes: Mutex<BTreeMap<Arc<str>, Scope<T>>>,
}

#[derive(Debug)]
struct Scope<T> {
    live: Vec<Arc<T>>,
    /// Counters of cells that no worker holds any more.
    retired: Vec<u64>,
}

impl<T> Default for Scopes<T> {
    fn default() -> Self {
        Self {
            scopes: Mutex::default(),
        }
    }
}

impl<T: Cells> Scopes<T> {
    /// New cells of a scope, for one worker to count in.
    pub fn cells(&self, name: &Arc<str>) -> Arc<T> {
        let cells = Arc::<T>::default();
        let mut scopes = self.lock();
        let scope = scopes.entry(name.clone()).or_insert_with(|| Scope {
            live: Vec::new(),
            retired: vec![0; T::fields().len()],
        });
        scope.live.push(cells.clone());
        cells
    }

    /// Sums over workers, by scope name. Cells that their worker dropped are folded into the scope's total.
    pub fn sums(&self) -> Vec<(Arc<str>, Vec<u64>)> {
        let mut scopes = self.lock();
        scopes
            .iter_mut()
            .map(|(name, scope)| (name.clone(), scope.sum()))
            .collect()
    }

    /// Forgets scopes that nobody counts in and that are no longer wanted.
    pub fn retain(&self, wanted: impl Fn(&str) -> bool) {
        self.lock().retain(|name, scope| {
            let in_use = scope.live.iter().any(|cells| Arc::strong_count(cells) > 1);
            in_use || wanted(name)
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Arc<str>, Scope<T>>> {
        self.scopes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Cells> Scope<T> {
    fn sum(&mut self) -> Vec<u64> {
        let retired = &mut self.retired;
        self.live.retain(|cells| {
            let held = Arc::strong_count(cells) > 1;
            if !held {
                add(retired, &cells.values());
            }
            held
        });
        let mut sum = self.retired.clone();
        for cells in &self.live {
            add(&mut sum, &cells.values());
        }
        sum
    }
}

fn add(sum: &mut [u64], values: &[u64]) {
    for (total, value) in sum.iter_mut().zip(values) {
        *total = total.wrapping_add(*value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_cover_all_workers_and_survive_them() {
        let scopes = Scopes::<TcpCells>::default();
        let name: Arc<str> = "a".into();
        let (first, second) = (scopes.cells(&name), scopes.cells(&name));
        first.downstream_cx_total.add(2);
        second.downstream_cx_total.inc();
        assert_eq!(scopes.sums(), [(name.clone(), vec![3, 0, 0, 0, 0])]);
        drop(first);
        assert_eq!(scopes.sums(), [(name.clone(), vec![3, 0, 0, 0, 0])]);
        second.downstream_cx_total.inc();
        assert_eq!(scopes.sums(), [(name, vec![4, 0, 0, 0, 0])]);
    }

    #[test]
    fn a_gauge_counts_while_it_lives() {
        let cells = Arc::new(ClusterCells::default());
        let gauge = Gauge::new(cells.clone(), |cells| &cells.upstream_cx_active);
        assert_eq!(cells.upstream_cx_active.get(), 1);
        drop(gauge);
        assert_eq!(cells.upstream_cx_active.get(), 0);
    }

    #[test]
    fn scopes_in_use_are_not_forgotten() {
        let scopes = Scopes::<TcpCells>::default();
        let held = scopes.cells(&"held".into());
        drop(scopes.cells(&"unused".into()));
        scopes.retain(|_| false);
        let names: Vec<_> = scopes.sums().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["held".into()]);
        drop(held);
    }
}
