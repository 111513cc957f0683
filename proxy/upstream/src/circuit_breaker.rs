//! Circuit breakers (`envoy.config.cluster.v3.CircuitBreakers`): exact limits over all workers.
//!
//! A limit is one shared atomic, touched only where the configured maximum is finite (or where a retry budget
//! needs the number). Permits give their unit back when they are dropped. As in Envoy, a check and the
//! following increment of two workers may interleave for connections and pending requests only in the sense
//! that each increment is checked against the maximum by itself: a limit is never exceeded.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::config::cluster::RoutingPriority;
use crate::config::cluster::circuit_breaker::{Limits, RetryBudget};

/// Limits of a cluster for both routing priorities.
#[derive(Debug)]
pub struct CircuitBreakers {
    default: Thresholds,
    high: Thresholds,
}

/// What may be limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// `max_connections`.
    Connections,
    /// `max_pending_requests`.
    PendingRequests,
    /// `max_requests`.
    Requests,
    /// `max_retries`, or the retry budget.
    Retries,
}

#[derive(Debug)]
struct Thresholds {
    limits: Limits,
    gauges: Arc<Gauges>,
}

/// Units in use, by [`Resource`]. What is unlimited stays zero, so that an update can begin to count it.
#[derive(Debug, Default)]
struct Gauges([AtomicU32; 4]);

impl Gauges {
    fn of(&self, resource: Resource) -> &AtomicU32 {
        &self.0[resource as usize]
    }
}

/// A limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("circuit breaker open: {0:?}")]
pub struct Overflow(pub Resource);

/// One unit of a limited resource. Dropping it gives the unit back.
#[derive(Debug, Default)]
#[must_use = "dropping a permit gives its unit back at once"]
pub struct Permit(Option<(Arc<Gauges>, Resource)>);

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some((gauges, resource)) = &self.0 {
            gauges.of(*resource).fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl CircuitBreakers {
    /// Breakers with nothing in use.
    pub fn new(default: Limits, high: Limits) -> Self {
        Self {
            default: Thresholds::new(default),
            high: Thresholds::new(high),
        }
    }

    /// New limits over the present use: an update of a cluster forgets no running request.
    pub fn with_limits(&self, default: Limits, high: Limits) -> Self {
        Self {
            default: self.default.with_limits(default),
            high: self.high.with_limits(high),
        }
    }

    /// Takes one unit.
    ///
    /// # Errors
    /// When the limit is reached.
    #[inline]
    pub fn acquire(
        &self,
        resource: Resource,
        priority: RoutingPriority,
    ) -> Result<Permit, Overflow> {
        self.of(priority).acquire(resource)
    }

    /// Takes one connection, over the limit if need be: a pool without any connection may always open one, or
    /// its requests would wait for ever.
    pub fn force_connection(&self, priority: RoutingPriority) -> Permit {
        let thresholds = self.of(priority);
        if thresholds.limits.connections.is_none() {
            return Permit::default();
        }
        thresholds
            .gauges
            .of(Resource::Connections)
            .fetch_add(1, Ordering::Relaxed);
        Permit(Some((thresholds.gauges.clone(), Resource::Connections)))
    }

    /// Units in use and the maximum; `None` where nothing is counted.
    pub fn usage(&self, resource: Resource, priority: RoutingPriority) -> Option<(u32, u32)> {
        let thresholds = self.of(priority);
        let maximum = thresholds.maximum(resource)?;
        Some((
            thresholds.gauges.of(resource).load(Ordering::Relaxed),
            maximum,
        ))
    }

    /// The configured limits of a priority.
    pub fn limits(&self, priority: RoutingPriority) -> &Limits {
        &self.of(priority).limits
    }

    fn of(&self, priority: RoutingPriority) -> &Thresholds {
        match priority {
            RoutingPriority::Default => &self.default,
            RoutingPriority::High => &self.high,
        }
    }
}

impl Thresholds {
    fn new(limits: Limits) -> Self {
        Self {
            limits,
            gauges: Arc::default(),
        }
    }

    fn with_limits(&self, limits: Limits) -> Self {
        Self {
            limits,
            gauges: self.gauges.clone(),
        }
    }

    /// Whether use of the resource is counted at all.
    fn counts(&self, resource: Resource) -> bool {
        let budgeted = self.limits.retry_budget.is_some();
        match resource {
            Resource::Connections => self.limits.connections.is_some(),
            Resource::PendingRequests => budgeted || self.limits.pending_requests.is_some(),
            Resource::Requests => budgeted || self.limits.requests.is_some(),
            Resource::Retries => budgeted || self.limits.retries.is_some(),
        }
    }

    fn maximum(&self, resource: Resource) -> Option<u32> {
        match resource {
            Resource::Connections => self.limits.connections,
            Resource::PendingRequests => self.limits.pending_requests,
            Resource::Requests => self.limits.requests,
            Resource::Retries => match self.limits.retry_budget {
                Some(budget) => Some(self.budget(budget)),
                None => self.limits.retries,
            },
        }
    }

    /// Retries that the requests in flight allow.
    fn budget(&self, budget: RetryBudget) -> u32 {
        let in_use = |resource| u64::from(self.gauges.of(resource).load(Ordering::Relaxed));
        let active = in_use(Resource::Requests) + in_use(Resource::PendingRequests);
        let share = active as f64 * budget.percent / 100.0;
        (share as u32).max(budget.min_concurrency)
    }

    #[inline]
    fn acquire(&self, resource: Resource) -> Result<Permit, Overflow> {
        if !self.counts(resource) {
            return Ok(Permit::default());
        }
        let maximum = self.maximum(resource).unwrap_or(u32::MAX);
        let gauge = self.gauges.of(resource);
        let taken = gauge.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |current| {
            (current < maximum).then(|| current + 1)
        });
        match taken {
            Ok(_) => Ok(Permit(Some((self.gauges.clone(), resource)))),
            Err(_) => Err(Overflow(resource)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    const UNLIMITED: Limits = Limits {
        connections: None,
        pending_requests: None,
        requests: None,
        retries: None,
        retry_budget: None,
    };
    const P: RoutingPriority = RoutingPriority::Default;

    fn breakers(limits: Limits) -> CircuitBreakers {
        CircuitBreakers::new(limits, Limits::default())
    }

    #[test]
    fn a_limit_is_exact_and_permits_return() {
        let breakers = breakers(Limits {
            requests: Some(2),
            ..UNLIMITED
        });
        let first = breakers.acquire(Resource::Requests, P).unwrap();
        let _second = breakers.acquire(Resource::Requests, P).unwrap();
        assert_eq!(
            breakers.acquire(Resource::Requests, P).unwrap_err(),
            Overflow(Resource::Requests)
        );
        drop(first);
        assert!(breakers.acquire(Resource::Requests, P).is_ok());
    }

    #[test]
    fn priorities_do_not_share_limits() {
        let breakers = breakers(Limits {
            requests: Some(0),
            ..UNLIMITED
        });
        assert!(breakers.acquire(Resource::Requests, P).is_err());
        assert!(
            breakers
                .acquire(Resource::Requests, RoutingPriority::High)
                .is_ok()
        );
    }

    #[test]
    fn what_is_unlimited_is_not_counted() {
        let breakers = breakers(UNLIMITED);
        let _permit = breakers.acquire(Resource::Requests, P).unwrap();
        assert_eq!(breakers.usage(Resource::Requests, P), None);
    }

    #[test]
    fn two_workers_together_never_exceed_a_limit() {
        const MAX: u32 = 7;
        let breakers = Arc::new(breakers(Limits {
            requests: Some(MAX),
            ..UNLIMITED
        }));
        let barrier = Arc::new(Barrier::new(2));
        let worker = || {
            let (breakers, barrier) = (breakers.clone(), barrier.clone());
            std::thread::spawn(move || {
                barrier.wait();
                let mut held = Vec::new();
                for _ in 0..1000 {
                    held.extend(breakers.acquire(Resource::Requests, P).ok());
                }
                let taken = held.len();
                barrier.wait();
                taken
            })
        };
        let taken: usize = [worker(), worker()]
            .into_iter()
            .map(|w| w.join().unwrap())
            .sum();
        assert_eq!(taken, MAX as usize);
        assert_eq!(breakers.usage(Resource::Requests, P), Some((0, MAX)));
    }

    #[test]
    fn a_retry_budget_follows_the_requests_in_flight() {
        let budget = RetryBudget {
            percent: 50.0,
            min_concurrency: 1,
        };
        let breakers = breakers(Limits {
            retry_budget: Some(budget),
            ..UNLIMITED
        });
        let one = breakers.acquire(Resource::Retries, P).unwrap();
        assert!(
            breakers.acquire(Resource::Retries, P).is_err(),
            "the minimum is one"
        );
        let _requests: Vec<_> = (0..4)
            .map(|_| breakers.acquire(Resource::Requests, P).unwrap())
            .collect();
        assert!(
            breakers.acquire(Resource::Retries, P).is_ok(),
            "half of four are two"
        );
        drop(one);
    }

    #[test]
    fn an_update_keeps_what_is_in_use() {
        let before = breakers(Limits {
            connections: Some(5),
            ..UNLIMITED
        });
        let held = before.acquire(Resource::Connections, P).unwrap();
        let after = before.with_limits(
            Limits {
                connections: Some(1),
                ..UNLIMITED
            },
            UNLIMITED,
        );
        assert!(after.acquire(Resource::Connections, P).is_err());
        drop(held);
        assert!(after.acquire(Resource::Connections, P).is_ok());
    }
}
