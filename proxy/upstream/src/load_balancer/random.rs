//! `RANDOM`: any host, weights aside, as in Envoy.

use std::rc::Rc;

use super::Host;

#[derive(Debug)]
pub(super) struct Random {
    hosts: Vec<Rc<Host>>,
}

impl Random {
    pub(super) fn new(hosts: Vec<Rc<Host>>) -> Self {
        Self { hosts }
    }

    pub(super) fn pick(&self, random: &mut fastrand::Rng) -> Option<Rc<Host>> {
        let index = random.usize(..self.hosts.len().max(1));
        self.hosts.get(index).cloned()
    }
}
