//! Outlier detection (`envoy.config.cluster.v3.OutlierDetection`): hosts that keep failing get no requests for
//! a while.
//!
//! Workers count consecutive failures in atomics of the host, so that counts are exact over all workers; only
//! a count that reaches its threshold, and the periodic [`OutlierDetection::sweep`] of the control thread,
//! take the lock. Balancers notice an ejection by [`OutlierDetection::generation`].

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use self::monitor::clear;
use crate::config::cluster::outlier_detection::{OutlierSettings, Trigger};

pub use self::monitor::HostMonitor;

mod monitor;

/// What happened to a request or connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// An HTTP response with this status (for gRPC: the status that corresponds).
    Response(u16),
    /// A connection for HTTP was made; the response is yet to be judged.
    Connected,
    /// A connection for TCP was made: that is all there is to judge.
    ConnectedFinal,
    /// Connecting failed, or the stream was reset before a response.
    LocalFailure,
    /// A timeout of ours.
    LocalTimeout,
    /// The server failed after the connection was made, in a protocol other than HTTP.
    ServerFailure,
}

const EXTERNAL: usize = 0;
const LOCAL: usize = 1;

/// The detector of one cluster, shared by all workers.
#[derive(Debug)]
pub struct OutlierDetection {
    /// The settings.
    pub settings: OutlierSettings,
    generation: AtomicU64,
    ejections: AtomicU64,
    hosts: Mutex<Vec<HostState>>,
}

/// What only the lock's holder needs of a host.
#[derive(Debug)]
struct HostState {
    monitor: Arc<HostMonitor>,
    ejected_at: Option<Instant>,
    /// When it last returned.
    returned_at: Option<Instant>,
    /// What the base ejection time is multiplied with.
    multiplier: u32,
    jitter: Duration,
}

impl OutlierDetection {
    /// A detector without hosts.
    pub fn new(settings: OutlierSettings) -> Self {
        Self {
            settings,
            generation: AtomicU64::new(0),
            ejections: AtomicU64::new(0),
            hosts: Mutex::default(),
        }
    }

    /// Grows when a host is ejected or returns.
    #[inline]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Ejections so far.
    pub fn ejections_total(&self) -> u64 {
        self.ejections.load(Ordering::Relaxed)
    }

    /// Hosts that are ejected now.
    pub fn ejections_active(&self) -> usize {
        self.lock()
            .iter()
            .filter(|host| host.monitor.ejected())
            .count()
    }

    /// The hosts of the cluster; known ones keep their history. A host that left while ejected no longer counts
    /// as ejected. An endpoint that is listed twice is one host.
    pub fn set_hosts(&self, monitors: impl IntoIterator<Item = Arc<HostMonitor>>) {
        let mut hosts = self.lock();
        let known = hosts
            .drain(..)
            .map(|host| (Arc::as_ptr(&host.monitor), host));
        let mut known: HashMap<*const HostMonitor, HostState> = known.collect();
        let mut listed = HashSet::new();
        let monitors = monitors.into_iter();
        hosts.extend(
            monitors
                .filter(|monitor| listed.insert(Arc::as_ptr(monitor)))
                .map(|monitor| {
                    let same = known.remove(&Arc::as_ptr(&monitor));
                    same.unwrap_or_else(|| HostState::new(monitor))
                }),
        );
    }

    /// Takes over the hosts of a predecessor with the same settings, when the cluster was updated. The predecessor,
    /// which workers may still ask for a moment, ejects nothing from then on.
    pub fn adopt(&self, predecessor: &Self) {
        *self.lock() = std::mem::take(&mut *predecessor.lock());
    }

    /// Notes what happened. Called by workers.
    pub fn record(&self, host: &HostMonitor, outcome: Outcome, now: Instant) {
        if self.settings.split_external_local_origin_errors {
            self.record_split(host, outcome, now);
            return;
        }
        match outcome {
            Outcome::Response(status) => self.response(host, status, now),
            Outcome::Connected => {}
            Outcome::ConnectedFinal => self.response(host, 200, now),
            Outcome::LocalFailure => self.response(host, 503, now),
            Outcome::LocalTimeout => self.response(host, 504, now),
            Outcome::ServerFailure => self.response(host, 500, now),
        }
    }

    /// Lets hosts return whose time is over, and judges success rates. Called by the control thread every
    /// [`OutlierSettings::interval`].
    pub fn sweep(&self, now: Instant) {
        let mut hosts = self.lock();
        let mut changed = false;
        for host in hosts.iter_mut() {
            changed |= self.uneject_if_due(host, now);
        }
        for kind in [EXTERNAL, LOCAL] {
            changed |= self.judge_rates(&mut hosts, kind, now);
        }
        for host in hosts.iter_mut() {
            self.relax(host, now);
        }
        if changed {
            self.generation.fetch_add(1, Ordering::Release);
        }
    }

    fn record_split(&self, host: &HostMonitor, outcome: Outcome, now: Instant) {
        match outcome {
            Outcome::Response(status) => self.response(host, status, now),
            Outcome::Connected | Outcome::ConnectedFinal => {
                host.rates[LOCAL].count(true);
                clear(&host.consecutive_local_origin_failure);
            }
            Outcome::LocalFailure | Outcome::LocalTimeout => {
                host.rates[LOCAL].count(false);
                let trigger = self.settings.consecutive_local_origin_failure;
                self.failed(host, &host.consecutive_local_origin_failure, trigger, now);
            }
            Outcome::ServerFailure => self.response(host, 503, now),
        }
    }

    fn response(&self, host: &HostMonitor, status: u16, now: Instant) {
        if self.judges_rates(EXTERNAL) {
            host.rates[EXTERNAL].count(!(500..600).contains(&status));
        }
        match status {
            502..=504 => self.failed(
                host,
                &host.consecutive_gateway_failure,
                self.settings.consecutive_gateway_failure,
                now,
            ),
            _ => clear(&host.consecutive_gateway_failure),
        }
        match status {
            500..600 => self.failed(
                host,
                &host.consecutive_5xx,
                self.settings.consecutive_5xx,
                now,
            ),
            _ => clear(&host.consecutive_5xx),
        }
    }

    /// One more failure in a row. Exactly one of the workers sees the threshold reached.
    fn failed(&self, host: &HostMonitor, counter: &AtomicU32, trigger: Trigger, now: Instant) {
        let count = counter.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        if count != trigger.count {
            return;
        }
        let mut hosts = self.lock();
        let total = hosts.len();
        let active = hosts.iter().filter(|host| host.monitor.ejected()).count();
        let state = hosts
            .iter_mut()
            .find(|state| std::ptr::eq(&*state.monitor, host));
        if let Some(state) = state
            && !host.ejected()
            && self.may_eject(active, total)
            && enforce(trigger.enforcing)
        {
            self.eject(state, now);
            self.generation.fetch_add(1, Ordering::Release);
        }
        counter.store(0, Ordering::Relaxed);
    }

    fn may_eject(&self, active: usize, total: usize) -> bool {
        let percent = 100.0 * (active + 1) as f64 / total as f64;
        let within = percent <= f64::from(self.settings.max_ejection_percent.min(100));
        within || (self.settings.always_eject_one_host && active == 0)
    }

    fn eject(&self, host: &mut HostState, now: Instant) {
        let settings = &self.settings;
        host.monitor.ejected.store(true, Ordering::Relaxed);
        host.ejected_at = Some(now);
        host.jitter = settings.max_ejection_time_jitter.mul_f64(fastrand::f64());
        let reached = settings.base_ejection_time * host.multiplier;
        if reached < settings.max_ejection_time + settings.base_ejection_time {
            host.multiplier += 1;
        }
        self.ejections.fetch_add(1, Ordering::Relaxed);
    }

    fn uneject_if_due(&self, host: &mut HostState, now: Instant) -> bool {
        let Some(ejected_at) = host.ejected_at else {
            return false;
        };
        let settings = &self.settings;
        let time = (settings.base_ejection_time * host.multiplier).min(settings.max_ejection_time);
        if now.duration_since(ejected_at) < time + host.jitter {
            return false;
        }
        host.ejected_at = None;
        host.returned_at = Some(now);
        let monitor = &host.monitor;
        // A counter just below its threshold must not eject the host again at the first error.
        clear(&monitor.consecutive_5xx);
        clear(&monitor.consecutive_gateway_failure);
        clear(&monitor.consecutive_local_origin_failure);
        monitor.ejected.store(false, Ordering::Relaxed);
        true
    }

    /// As Envoy: the multiplier falls only at sweeps that find the host in, and back for an interval at least, so
    /// that the time of an ejection and the sweep that ends it forgive nothing.
    fn relax(&self, host: &mut HostState, now: Instant) {
        let back_for = host.returned_at.map(|at| now.duration_since(at));
        let is_back = back_for.is_some_and(|time| time >= self.settings.interval);
        if is_back && !host.monitor.ejected() {
            host.multiplier = host.multiplier.saturating_sub(1);
        }
    }

    fn judges_rates(&self, kind: usize) -> bool {
        self.settings.success_rate[kind].enforcing > 0
            || self.settings.failure_percentage[kind].enforcing > 0
    }

    fn judge_rates(&self, hosts: &mut [HostState], kind: usize, now: Instant) -> bool {
        if !self.judges_rates(kind) {
            return false;
        }
        let counts: Vec<(u32, u32)> = hosts
            .iter()
            .map(|host| host.monitor.rates[kind].take())
            .collect();
        let rates_of = |hosts: &[HostState], volume: u32| -> Vec<(usize, f64)> {
            let judged = counts.iter().enumerate().filter(|(at, (total, _))| {
                *total >= volume.max(1) && !hosts[*at].monitor.ejected()
            });
            judged
                .map(|(at, (total, ok))| (at, 100.0 * f64::from(*ok) / f64::from(*total)))
                .collect()
        };
        let by_rate = self.settings.success_rate[kind];
        let rates = rates_of(hosts, by_rate.request_volume);
        let mut changed = false;
        if rates.len() >= by_rate.minimum_hosts.max(1) as usize {
            let threshold = success_rate_threshold(&rates, by_rate.stdev_factor);
            let outliers = rates.iter().filter(|(_, rate)| *rate < threshold);
            changed |= self.eject_all(hosts, outliers.map(|(at, _)| *at), by_rate.enforcing, now);
        }
        let by_failure = self.settings.failure_percentage[kind];
        let rates = rates_of(hosts, by_failure.request_volume);
        if rates.len() >= by_failure.minimum_hosts.max(1) as usize {
            let outliers = rates
                .iter()
                .filter(|(_, rate)| 100.0 - rate >= by_failure.threshold);
            changed |= self.eject_all(
                hosts,
                outliers.map(|(at, _)| *at),
                by_failure.enforcing,
                now,
            );
        }
        changed
    }

    fn eject_all(
        &self,
        hosts: &mut [HostState],
        outliers: impl Iterator<Item = usize>,
        enforcing: u32,
        now: Instant,
    ) -> bool {
        let total = hosts.len();
        let mut changed = false;
        for at in outliers {
            let active = hosts.iter().filter(|host| host.monitor.ejected()).count();
            if self.may_eject(active, total) && enforce(enforcing) {
                self.eject(&mut hosts[at], now);
                changed = true;
            }
        }
        changed
    }

    /// A worker that panicked while it held the lock left a list that is still a list.
    fn lock(&self) -> MutexGuard<'_, Vec<HostState>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HostState {
    fn new(monitor: Arc<HostMonitor>) -> Self {
        Self {
            monitor,
            ejected_at: None,
            returned_at: None,
            multiplier: 0,
            jitter: Duration::ZERO,
        }
    }
}

fn enforce(percent: u32) -> bool {
    percent >= 100 || fastrand::u32(..100) < percent
}

/// The mean less `factor` standard deviations.
fn success_rate_threshold(rates: &[(usize, f64)], factor: f64) -> f64 {
    let count = rates.len() as f64;
    let mean = rates.iter().map(|(_, rate)| rate).sum::<f64>() / count;
    let variance = rates
        .iter()
        .map(|(_, rate)| (rate - mean).powi(2))
        .sum::<f64>()
        / count;
    mean - factor * variance.sqrt()
}

#[cfg(test)]
mod tests;
