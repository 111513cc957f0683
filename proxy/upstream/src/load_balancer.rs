//! Load balancing as Envoy does it: priority by availability, then locality, then host.
//!
//! A [`LoadBalancer`] is built for one state of health and then only picks; a change of endpoints or an
//! ejection builds a new one. It knows no sockets and no clock.

use std::rc::Rc;

use super::{Host, PickContext};
use crate::config::cluster::{Balancing, LbPolicy, SubsetFallback};
use crate::config::endpoint::LoadAssignment;

mod edf;
mod least_request;
mod locality;
mod maglev;
mod priority;
mod random;
mod ring_hash;
mod round_robin;
mod subset;

use least_request::LeastRequest;
use locality::Source;
use maglev::Maglev;
use priority::PriorityLoads;
use random::Random;
use ring_hash::RingHash;
use round_robin::RoundRobin;
use subset::Subsets;

/// The result of a pick.
#[derive(Debug, Default)]
pub struct Picked {
    /// The host, if there is one.
    pub host: Option<Rc<Host>>,
    /// Health was ignored because too few hosts are healthy.
    pub panic: bool,
}

/// Chooses hosts of one cluster.
#[derive(Debug)]
pub struct LoadBalancer {
    random: fastrand::Rng,
    all: Option<Levels>,
    subsets: Option<Subsets>,
}

/// All priorities of a group of hosts.
#[derive(Debug)]
struct Levels {
    loads: PriorityLoads,
    sources: Vec<PrioritySource>,
}

/// The hosts of one priority, as far as they may be picked.
#[derive(Debug)]
enum PrioritySource {
    /// Health is ignored.
    Panic(Source),
    /// Panic, and `fail_traffic_on_panic`.
    Refuse,
    Normal {
        healthy: Source,
        degraded: Source,
    },
}

/// The hosts of one locality in one priority, with what balancing needs to know of the locality.
#[derive(Debug, Clone)]
struct LocalityHosts {
    weight: u32,
    hosts: Vec<Rc<Host>>,
}

/// The hosts of all priorities.
#[derive(Debug, Clone)]
struct HostSet {
    priorities: Vec<Vec<LocalityHosts>>,
    overprovisioning_factor: u32,
    weighted_priority_health: bool,
}

/// Availability as balancing sees it: what the control plane says, and outlier detection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Availability {
    Healthy,
    Degraded,
    Unavailable,
}

/// One algorithm over one list of hosts.
#[derive(Debug)]
enum Picker {
    RoundRobin(RoundRobin),
    LeastRequest(LeastRequest),
    Random(Random),
    RingHash(RingHash),
    Maglev(Maglev),
}

impl LoadBalancer {
    /// A balancer over the hosts of an assignment. `hosts` are in the order of its endpoints.
    pub fn new(
        balancing: &Balancing,
        assignment: Option<&LoadAssignment>,
        hosts: &[Rc<Host>],
    ) -> Self {
        let mut random = fastrand::Rng::new();
        let Some(assignment) = assignment else {
            return Self {
                random,
                all: None,
                subsets: None,
            };
        };
        let set = HostSet::new(assignment, hosts);
        let subsets = balancing
            .subsets
            .as_ref()
            .map(|options| Subsets::new(options, balancing, &set, &mut random));
        let all_is_used = balancing
            .subsets
            .as_ref()
            .is_none_or(|options| options.fallback == SubsetFallback::AnyEndpoint);
        let all = all_is_used.then(|| Levels::new(balancing, &set, &mut random));
        Self {
            random,
            all,
            subsets,
        }
    }

    /// A balancer whose random choices follow a seed.
    #[cfg(test)]
    fn seeded(mut self, seed: u64) -> Self {
        self.random = fastrand::Rng::with_seed(seed);
        self
    }

    /// Chooses a host.
    pub fn pick(&mut self, context: &PickContext<'_>) -> Picked {
        let Self {
            random,
            all,
            subsets,
        } = self;
        let levels = match subsets {
            Some(subsets) => subsets.levels(context.metadata_match).or(all.as_mut()),
            None => all.as_mut(),
        };
        levels.map_or_else(Picked::default, |levels| levels.pick(context, random))
    }
}

impl Levels {
    fn new(balancing: &Balancing, set: &HostSet, random: &mut fastrand::Rng) -> Self {
        let loads = PriorityLoads::new(set, balancing.panic_threshold);
        let sources = set
            .priorities
            .iter()
            .zip(&loads.panic)
            .map(|(localities, panic)| {
                if *panic && balancing.fail_traffic_on_panic {
                    return PrioritySource::Refuse;
                }
                if *panic {
                    return PrioritySource::Panic(Source::in_panic(balancing, localities, random));
                }
                let mut source = |availability| {
                    let factor = set.overprovisioning_factor;
                    Source::new(balancing, localities, availability, factor, random)
                };
                PrioritySource::Normal {
                    healthy: source(Availability::Healthy),
                    degraded: source(Availability::Degraded),
                }
            });
        Self {
            sources: sources.collect(),
            loads,
        }
    }

    /// Picks again, up to the allowed number of times, while the host is one to be avoided.
    fn pick(&mut self, context: &PickContext<'_>, random: &mut fastrand::Rng) -> Picked {
        let hash = context.hash.unwrap_or_else(|| random.u64(..));
        let mut picked = Picked::default();
        for attempt in 0..=context.attempts {
            picked = self.pick_once(hash, attempt, random);
            let avoid = picked
                .host
                .as_ref()
                .is_some_and(|h| context.tried.contains(&h.address()));
            if !avoid {
                break;
            }
        }
        picked
    }

    fn pick_once(&mut self, hash: u64, attempt: u32, random: &mut fastrand::Rng) -> Picked {
        let hashed = matches!(self.policy(), Some(Picker::RingHash(_) | Picker::Maglev(_)));
        let spread = if hashed { hash } else { random.u64(..) };
        let Some((priority, availability)) = self.loads.choose(spread) else {
            return Picked::default();
        };
        let (source, panic) = match &mut self.sources[priority] {
            PrioritySource::Refuse => {
                return Picked {
                    host: None,
                    panic: true,
                };
            }
            PrioritySource::Panic(source) => (source, true),
            PrioritySource::Normal { healthy, degraded } => match availability {
                Availability::Degraded => (degraded, false),
                _ => (healthy, false),
            },
        };
        Picked {
            host: source.pick(hash, attempt, random),
            panic,
        }
    }

    /// Any picker: all of them are of one kind.
    fn policy(&self) -> Option<&Picker> {
        self.sources.iter().find_map(|source| match source {
            PrioritySource::Refuse => None,
            PrioritySource::Panic(source) => source.any_picker(),
            PrioritySource::Normal { healthy, degraded } => {
                healthy.any_picker().or_else(|| degraded.any_picker())
            }
        })
    }
}

impl HostSet {
    fn new(assignment: &LoadAssignment, hosts: &[Rc<Host>]) -> Self {
        let mut hosts = hosts.iter().cloned();
        let priorities = assignment.priorities.iter().map(|localities| {
            let localities = localities.iter().map(|locality| LocalityHosts {
                weight: locality.weight,
                hosts: hosts.by_ref().take(locality.endpoints.len()).collect(),
            });
            localities.collect()
        });
        Self {
            priorities: priorities.collect(),
            overprovisioning_factor: assignment.overprovisioning_factor,
            weighted_priority_health: assignment.weighted_priority_health,
        }
    }

    /// The hosts that satisfy a condition, in the same places.
    fn filtered(&self, keep: impl Fn(&Host) -> bool) -> Self {
        let mut set = self.clone();
        for locality in set.priorities.iter_mut().flatten() {
            locality.hosts.retain(|host| keep(host));
        }
        set
    }
}

impl Availability {
    fn of(host: &Host) -> Self {
        use crate::config::endpoint::Health;
        match host.endpoint.health {
            _ if host.endpoint.monitor.ejected() => Self::Unavailable,
            Health::Healthy => Self::Healthy,
            Health::Degraded => Self::Degraded,
            Health::Unhealthy | Health::Draining => Self::Unavailable,
        }
    }
}

impl Picker {
    /// A picker over hosts with normalised weights (they sum up to 1 over all localities that share the load).
    fn new(balancing: &Balancing, hosts: Vec<(Rc<Host>, f64)>, random: &mut fastrand::Rng) -> Self {
        let plain = |hosts: Vec<(Rc<Host>, f64)>| hosts.into_iter().map(|(host, _)| host).collect();
        match balancing.policy {
            LbPolicy::RoundRobin => Self::RoundRobin(RoundRobin::new(plain(hosts), random)),
            LbPolicy::LeastRequest {
                choice_count,
                active_request_bias,
            } => Self::LeastRequest(LeastRequest::new(
                plain(hosts),
                choice_count,
                active_request_bias,
                random,
            )),
            // Original-destination clusters never get here.
            LbPolicy::Random | LbPolicy::ClusterProvided => Self::Random(Random::new(plain(hosts))),
            LbPolicy::RingHash(options) => Self::RingHash(RingHash::new(hosts, options)),
            LbPolicy::Maglev {
                table_size,
                use_hostname,
            } => Self::Maglev(Maglev::new(hosts, table_size, use_hostname)),
        }
    }

    fn pick(&mut self, hash: u64, attempt: u32, random: &mut fastrand::Rng) -> Option<Rc<Host>> {
        match self {
            Self::RoundRobin(picker) => picker.pick(),
            Self::LeastRequest(picker) => picker.pick(random),
            Self::Random(picker) => picker.pick(random),
            Self::RingHash(picker) => picker.pick(hash, attempt),
            Self::Maglev(picker) => picker.pick(hash, attempt),
        }
    }
}

/// What ring hash and Maglev hash of a host: metadata `envoy.lb.hash_key`, its name if asked for, its address.
fn hash_key(host: &Host, use_hostname: bool) -> String {
    let endpoint = &host.endpoint;
    if let Some(key) = endpoint.metadata.filter("envoy.lb").string("hash_key") {
        return key.to_owned();
    }
    match use_hostname && !endpoint.hostname.is_empty() {
        true => endpoint.hostname.to_string(),
        false => endpoint.address.to_string(),
    }
}

#[cfg(test)]
mod tests;
