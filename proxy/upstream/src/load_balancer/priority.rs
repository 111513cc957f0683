//! Which priority gets a request, by the availability of its hosts.

use super::{Availability, Host, HostSet, LocalityHosts};

/// Load per priority in percent, to healthy and to degraded hosts; the sum is 100.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PriorityLoads {
    healthy: Vec<u32>,
    degraded: Vec<u32>,
    /// Priorities whose health is ignored.
    pub(super) panic: Vec<bool>,
}

/// Hosts of one priority, counted.
#[derive(Debug, Default, Clone, Copy)]
struct Count {
    healthy: u64,
    degraded: u64,
    total: u64,
}

impl PriorityLoads {
    pub(super) fn new(set: &HostSet, panic_threshold: u8) -> Self {
        let one = |_: &Host| 1;
        let hosts: Vec<Count> = set.priorities.iter().map(|p| count(p, one)).collect();
        let health = match set.weighted_priority_health {
            false => hosts.clone(),
            true => {
                let weight = |host: &Host| u64::from(host.endpoint.weight);
                set.priorities.iter().map(|p| count(p, weight)).collect()
            }
        };
        Self::of(
            &hosts,
            &health,
            set.overprovisioning_factor,
            panic_threshold,
        )
    }

    fn of(hosts: &[Count], health: &[Count], factor: u32, panic_threshold: u8) -> Self {
        let percent = |part: u64, total: u64| match total {
            0 => 0,
            total => (u64::from(factor) * part / total).min(100) as u32,
        };
        let healthy: Vec<u32> = health.iter().map(|c| percent(c.healthy, c.total)).collect();
        let degraded: Vec<u32> = health
            .iter()
            .map(|c| percent(c.degraded, c.total))
            .collect();
        let available = (healthy.iter().sum::<u32>() + degraded.iter().sum::<u32>()).min(100);
        let mut loads = Self {
            healthy: vec![0; hosts.len()],
            degraded: vec![0; hosts.len()],
            panic: vec![false; hosts.len()],
        };
        if hosts.is_empty() {
            return loads;
        }
        if available > 0 {
            loads.distribute(&healthy, &degraded, available);
        } else if panic_threshold == 0 {
            loads.healthy[0] = 100;
            return loads;
        }
        for (panic, hosts) in loads.panic.iter_mut().zip(hosts) {
            *panic = available < 100 && hosts.in_panic(panic_threshold);
        }
        if loads.panic.iter().all(|panic| *panic) {
            loads.distribute_by_number(hosts);
        }
        loads
    }

    /// As much as possible to healthy hosts of the first priorities, then to degraded ones; what rounding left
    /// goes to the first that has any.
    fn distribute(&mut self, healthy: &[u32], degraded: &[u32], available: u32) {
        let mut left = 100;
        let mut share = |loads: &mut [u32], health: &[u32]| {
            for (load, health) in loads.iter_mut().zip(health) {
                *load = (health * 100 / available).min(left);
                left -= *load;
            }
            health.iter().position(|health| *health > 0)
        };
        let first_healthy = share(&mut self.healthy, healthy);
        let first_degraded = share(&mut self.degraded, degraded);
        match (first_healthy, first_degraded) {
            (Some(first), _) => self.healthy[first] += left,
            (None, Some(first)) => self.degraded[first] += left,
            (None, None) => {}
        }
    }

    /// Total panic: by number of hosts, healthy or not.
    fn distribute_by_number(&mut self, hosts: &[Count]) {
        let total: u64 = hosts.iter().map(|count| count.total).sum();
        self.degraded.fill(0);
        let Some(first) = hosts.iter().position(|count| count.total > 0) else {
            self.healthy.fill(0);
            self.healthy[0] = 100;
            return;
        };
        for (load, count) in self.healthy.iter_mut().zip(hosts) {
            *load = (100 * count.total / total) as u32;
        }
        self.healthy[first] += 100 - self.healthy.iter().sum::<u32>();
    }

    /// The priority for a request, by a random number or its hash.
    pub(super) fn choose(&self, hash: u64) -> Option<(usize, Availability)> {
        let point = (hash % 100) as u32 + 1;
        let healthy = self
            .healthy
            .iter()
            .map(|load| (load, Availability::Healthy))
            .enumerate();
        let degraded = self
            .degraded
            .iter()
            .map(|load| (load, Availability::Degraded))
            .enumerate();
        let mut sum = 0;
        let mut all = healthy.chain(degraded);
        all.find_map(|(priority, (load, availability))| {
            sum += load;
            (point <= sum).then_some((priority, availability))
        })
    }
}

impl Count {
    fn in_panic(&self, threshold: u8) -> bool {
        let available = match self.total {
            0 => 0.0,
            total => 100.0 * (self.healthy + self.degraded) as f64 / total as f64,
        };
        available < f64::from(threshold)
    }
}

fn count(localities: &[LocalityHosts], unit: impl Fn(&Host) -> u64) -> Count {
    let mut count = Count::default();
    for host in localities.iter().flat_map(|locality| &locality.hosts) {
        let units = unit(host);
        count.total += units;
        match Availability::of(host) {
            Availability::Healthy => count.healthy += units,
            Availability::Degraded => count.degraded += units,
            Availability::Unavailable => {}
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn counts(hosts: &[(u64, u64, u64)]) -> Vec<Count> {
        hosts
            .iter()
            .map(|&(healthy, degraded, total)| Count {
                healthy,
                degraded,
                total,
            })
            .collect()
    }

    #[rstest]
    #[case::all_healthy(&[(4, 0, 4), (4, 0, 4)], &[100, 0], &[0, 0], &[false, false])]
    #[case::overprovisioned(&[(3, 0, 4), (4, 0, 4)], &[100, 0], &[0, 0], &[false, false])]
    #[case::spill(&[(2, 0, 4), (4, 0, 4)], &[70, 30], &[0, 0], &[false, false])]
    #[case::half_dead(&[(1, 0, 4), (0, 0, 4)], &[100, 0], &[0, 0], &[true, true])]
    #[case::all_dead(&[(0, 0, 3), (0, 0, 1)], &[75, 25], &[0, 0], &[true, true])]
    #[case::no_hosts(&[(0, 0, 0)], &[100], &[0], &[true])]
    #[case::degraded_first(&[(0, 4, 4)], &[0], &[100], &[false])]
    #[case::degraded_after_healthy(&[(2, 2, 4)], &[70], &[30], &[false])]
    fn loads_follow_availability(
        #[case] hosts: &[(u64, u64, u64)],
        #[case] healthy: &[u32],
        #[case] degraded: &[u32],
        #[case] panic: &[bool],
    ) {
        let hosts = counts(hosts);
        let loads = PriorityLoads::of(&hosts, &hosts, 140, 50);
        if loads.panic.iter().all(|p| *p) {
            assert_eq!(loads.healthy.iter().sum::<u32>(), 100);
        }
        if panic == [true, true] && healthy == [100, 0] {
            // One of eight hosts is healthy: total panic, and both priorities have as many hosts.
            assert_eq!(loads.healthy, [50, 50]);
            return;
        }
        assert_eq!(
            (&*loads.healthy, &*loads.degraded, &*loads.panic),
            (healthy, degraded, panic)
        );
    }

    #[test]
    fn without_panic_there_is_no_host_to_find() {
        let hosts = counts(&[(0, 0, 3)]);
        let loads = PriorityLoads::of(&hosts, &hosts, 140, 0);
        assert_eq!(loads.panic, [false]);
        assert_eq!(loads.choose(7), Some((0, Availability::Healthy)));
    }

    #[test]
    fn the_choice_follows_the_loads() {
        let hosts = counts(&[(2, 0, 4), (4, 0, 4)]);
        let loads = PriorityLoads::of(&hosts, &hosts, 140, 50);
        let first = (0..100)
            .filter(|hash| loads.choose(*hash).unwrap().0 == 0)
            .count();
        assert_eq!(first, 70);
    }
}
