//! Hosts of one priority by locality: as one list, or by the localities' weights
//! (`locality_weighted_lb_config`).

use std::rc::Rc;

use super::edf::Edf;
use super::{Availability, Host, LocalityHosts, Picker};
use crate::config::cluster::{Balancing, LbPolicy};

/// Where a priority's hosts are picked from.
#[derive(Debug)]
pub(super) enum Source {
    /// All hosts alike.
    Flat(Picker),
    /// A locality first.
    Localities(LocalitySource),
}

/// Localities, each picked in proportion to its effective weight.
#[derive(Debug)]
pub(super) struct LocalitySource {
    schedule: Edf,
    localities: Vec<(f64, Picker)>,
}

impl Source {
    /// Hosts of one availability.
    pub(super) fn new(
        balancing: &Balancing,
        localities: &[LocalityHosts],
        availability: Availability,
        overprovisioning_factor: u32,
        random: &mut fastrand::Rng,
    ) -> Self {
        let hashed = matches!(
            balancing.policy,
            LbPolicy::RingHash(_) | LbPolicy::Maglev { .. }
        );
        if !balancing.locality_weighted {
            return Self::flat(balancing, available(localities, availability), random);
        }
        if hashed {
            let hosts = weighted_by_locality(localities, availability);
            return Self::Flat(Picker::new(balancing, hosts, random));
        }
        let weighted: Vec<(f64, Picker)> = localities
            .iter()
            .filter_map(|locality| {
                let hosts = of_availability(&locality.hosts, availability);
                let weight = effective_weight(locality, hosts.len(), overprovisioning_factor);
                let picker = || Picker::new(balancing, normalized(hosts, 1.0), random);
                (weight > 0.0).then(|| (weight, picker()))
            })
            .collect();
        if weighted.is_empty() {
            // Without any weight Envoy balances over the hosts as one list.
            return Self::flat(balancing, available(localities, availability), random);
        }
        let schedule = Edf::new(weighted.iter().map(|(weight, _)| *weight), 0);
        Self::Localities(LocalitySource {
            schedule,
            localities: weighted,
        })
    }

    /// All hosts, whatever their health and locality.
    pub(super) fn in_panic(
        balancing: &Balancing,
        localities: &[LocalityHosts],
        random: &mut fastrand::Rng,
    ) -> Self {
        let hosts = localities
            .iter()
            .flat_map(|locality| locality.hosts.iter().cloned());
        Self::flat(balancing, hosts.collect(), random)
    }

    fn flat(balancing: &Balancing, hosts: Vec<Rc<Host>>, random: &mut fastrand::Rng) -> Self {
        Self::Flat(Picker::new(balancing, normalized(hosts, 1.0), random))
    }

    pub(super) fn pick(
        &mut self,
        hash: u64,
        attempt: u32,
        random: &mut fastrand::Rng,
    ) -> Option<Rc<Host>> {
        match self {
            Self::Flat(picker) => picker.pick(hash, attempt, random),
            Self::Localities(LocalitySource {
                schedule,
                localities,
            }) => {
                let chosen = schedule.pick(|index| localities[index].0)?;
                localities[chosen].1.pick(hash, attempt, random)
            }
        }
    }

    pub(super) fn any_picker(&self) -> Option<&Picker> {
        match self {
            Self::Flat(picker) => Some(picker),
            Self::Localities(source) => source.localities.first().map(|(_, picker)| picker),
        }
    }
}

fn of_availability(hosts: &[Rc<Host>], availability: Availability) -> Vec<Rc<Host>> {
    hosts
        .iter()
        .filter(|host| Availability::of(host) == availability)
        .cloned()
        .collect()
}

fn available(localities: &[LocalityHosts], availability: Availability) -> Vec<Rc<Host>> {
    localities
        .iter()
        .flat_map(|locality| of_availability(&locality.hosts, availability))
        .collect()
}

/// The locality's weight, less where fewer hosts are available than overprovisioning covers.
fn effective_weight(locality: &LocalityHosts, available: usize, factor: u32) -> f64 {
    if locality.hosts.is_empty() {
        return 0.0;
    }
    let share = available as f64 / locality.hosts.len() as f64;
    f64::from(locality.weight) * (share * f64::from(factor) / 100.0).min(1.0)
}

/// Weights of hosts, summing up to `total`.
fn normalized(hosts: Vec<Rc<Host>>, total: f64) -> Vec<(Rc<Host>, f64)> {
    let sum: u64 = hosts
        .iter()
        .map(|host| u64::from(host.endpoint.weight))
        .sum();
    hosts
        .into_iter()
        .map(|host| {
            let weight = f64::from(host.endpoint.weight) * total / sum as f64;
            (host, weight)
        })
        .collect()
}

/// For hash rings: one ring over all localities, with the localities' weights in the hosts'. As in Envoy the
/// weights do not follow partial availability.
fn weighted_by_locality(
    localities: &[LocalityHosts],
    availability: Availability,
) -> Vec<(Rc<Host>, f64)> {
    let sum: u64 = localities
        .iter()
        .map(|locality| u64::from(locality.weight))
        .sum();
    let loaded = localities.iter().filter(|locality| locality.weight > 0);
    loaded
        .flat_map(|locality| {
            let share = f64::from(locality.weight) / sum as f64;
            normalized(of_availability(&locality.hosts, availability), share)
        })
        .collect()
}
