//! `ROUND_ROBIN`: by turns, or by earliest deadline where weights differ.

use std::rc::Rc;

use super::Host;
use super::edf::Edf;

#[derive(Debug)]
pub(super) struct RoundRobin {
    hosts: Vec<Rc<Host>>,
    turn: Turn,
}

#[derive(Debug)]
enum Turn {
    Equal(usize),
    Weighted(Edf),
}

impl RoundRobin {
    pub(super) fn new(hosts: Vec<Rc<Host>>, random: &mut fastrand::Rng) -> Self {
        let start = random.usize(..hosts.len().max(1));
        let turn = match weights_differ(&hosts) {
            false => Turn::Equal(start),
            true => Turn::Weighted(Edf::new(hosts.iter().map(|host| weight(host)), start)),
        };
        Self { hosts, turn }
    }

    pub(super) fn pick(&mut self) -> Option<Rc<Host>> {
        let hosts = &self.hosts;
        let index = match &mut self.turn {
            Turn::Equal(next) => {
                let index = *next;
                *next = if index + 1 < hosts.len() {
                    index + 1
                } else {
                    0
                };
                index
            }
            Turn::Weighted(edf) => edf.pick(|index| weight(&hosts[index]))?,
        };
        hosts.get(index).cloned()
    }
}

pub(super) fn weight(host: &Host) -> f64 {
    f64::from(host.endpoint.weight)
}

pub(super) fn weights_differ(hosts: &[Rc<Host>]) -> bool {
    hosts
        .windows(2)
        .any(|pair| pair[0].endpoint.weight != pair[1].endpoint.weight)
}
