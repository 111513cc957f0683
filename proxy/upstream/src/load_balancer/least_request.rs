//! `LEAST_REQUEST`: the least loaded of a few random hosts; where weights differ, earliest deadline first with
//! weights that active requests lower.
//!
//! Differs from Envoy: active requests are those of this worker, where Envoy shares the number between its
//! workers. A shared number would be an atomic that every request writes twice.

use std::rc::Rc;

use super::Host;
use super::edf::Edf;
use super::round_robin::{weight, weights_differ};

#[derive(Debug)]
pub(super) struct LeastRequest {
    hosts: Vec<Rc<Host>>,
    choice: Choice,
}

#[derive(Debug)]
enum Choice {
    OfRandom { count: u32 },
    Weighted { edf: Edf, bias: f64 },
}

impl LeastRequest {
    pub(super) fn new(
        hosts: Vec<Rc<Host>>,
        choice_count: u32,
        bias: f64,
        random: &mut fastrand::Rng,
    ) -> Self {
        let choice = match weights_differ(&hosts) {
            false => Choice::OfRandom {
                count: choice_count,
            },
            true => {
                let start = random.usize(..hosts.len());
                let weights = hosts.iter().map(|host| biased_weight(host, bias));
                Choice::Weighted {
                    edf: Edf::new(weights, start),
                    bias,
                }
            }
        };
        Self { hosts, choice }
    }

    pub(super) fn pick(&mut self, random: &mut fastrand::Rng) -> Option<Rc<Host>> {
        let hosts = &self.hosts;
        match &mut self.choice {
            Choice::OfRandom { .. } if hosts.len() < 2 => hosts.first().cloned(),
            Choice::OfRandom { count } => {
                let candidates = (0..*count).map(|_| &hosts[random.usize(..hosts.len())]);
                // Of equally loaded ones the first: `min_by_key` keeps it.
                candidates
                    .min_by_key(|host| host.active_requests())
                    .cloned()
            }
            Choice::Weighted { edf, bias } => {
                let index = edf.pick(|index| biased_weight(&hosts[index], *bias))?;
                Some(hosts[index].clone())
            }
        }
    }
}

fn biased_weight(host: &Host, bias: f64) -> f64 {
    let active = f64::from(host.active_requests()) + 1.0;
    match bias {
        0.0 => weight(host),
        1.0 => weight(host) / active,
        bias => weight(host) / active.powf(bias),
    }
}
