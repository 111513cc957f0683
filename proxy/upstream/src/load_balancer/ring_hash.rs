//! `RING_HASH`: consistent hashing on a ketama ring, with Envoy's hash, ring and search, so that a fleet of both
//! proxies sends a key to the same host.

use std::rc::Rc;

use xxhash_rust::xxh64::xxh64;

use super::{Host, hash_key};
use crate::config::cluster::RingHashOptions;

#[derive(Debug)]
pub(super) struct RingHash {
    hosts: Vec<Rc<Host>>,
    /// Hash and index of the host, by hash.
    ring: Vec<(u64, u32)>,
}

impl RingHash {
    /// Hosts with weights that sum up to 1.
    pub(super) fn new(hosts: Vec<(Rc<Host>, f64)>, options: RingHashOptions) -> Self {
        let keys = hosts
            .iter()
            .map(|(host, weight)| (hash_key(host, options.use_hostname), *weight));
        let ring = build(&keys.collect::<Vec<_>>(), options);
        Self {
            hosts: hosts.into_iter().map(|(host, _)| host).collect(),
            ring,
        }
    }

    pub(super) fn pick(&self, hash: u64, attempt: u32) -> Option<Rc<Host>> {
        let length = self.ring.len();
        let at = position(&self.ring, hash)?;
        let (_, host) = self.ring[(at + attempt as usize) % length];
        self.hosts.get(host as usize).cloned()
    }
}

/// The least weighted host gets a whole number of places, the others in proportion; running sums spread the
/// fractions. The scale never exceeds the maximum size.
fn build(keys: &[(String, f64)], options: RingHashOptions) -> Vec<(u64, u32)> {
    let Some(least) = keys.iter().map(|(_, weight)| *weight).reduce(f64::min) else {
        return Vec::new();
    };
    let whole = (least * options.minimum_size as f64).ceil() / least;
    let scale = whole.min(options.maximum_size as f64);
    let mut ring = Vec::with_capacity(scale.ceil() as usize);
    let (mut current, mut target) = (0.0, 0.0);
    for (host, (key, weight)) in keys.iter().enumerate() {
        target += scale * weight;
        let mut place = 0_u64;
        while current < target {
            ring.push((xxh64(format!("{key}_{place}").as_bytes(), 0), host as u32));
            place += 1;
            current += 1.0;
        }
    }
    ring.sort_by_key(|(hash, _)| *hash);
    ring
}

/// The first place at or after the hash, the first of all behind the last one.
fn position(ring: &[(u64, u32)], hash: u64) -> Option<usize> {
    if ring.is_empty() {
        return None;
    }
    let at = ring.partition_point(|(place, _)| *place < hash);
    Some(if at == ring.len() { 0 } else { at })
}

#[cfg(test)]
mod tests;
