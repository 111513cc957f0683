//! `MAGLEV`: consistent hashing by a table, filled as Envoy fills it (Maglev, section 3.4, with weights).

use std::rc::Rc;

use xxhash_rust::xxh64::xxh64;

use super::{Host, hash_key};

#[derive(Debug)]
pub(super) struct Maglev {
    hosts: Vec<Rc<Host>>,
    /// Indexes of hosts; empty if there are none.
    table: Vec<u32>,
}

#[derive(Debug)]
struct Permutation {
    host: u32,
    offset: u64,
    skip: u64,
    next: u64,
    weight: f64,
    target: f64,
}

impl Maglev {
    /// Hosts with weights that sum up to 1.
    pub(super) fn new(hosts: Vec<(Rc<Host>, f64)>, table_size: u32, use_hostname: bool) -> Self {
        let keys = hosts
            .iter()
            .map(|(host, weight)| (hash_key(host, use_hostname), *weight));
        let table = build(&keys.collect::<Vec<_>>(), table_size);
        Self {
            hosts: hosts.into_iter().map(|(host, _)| host).collect(),
            table,
        }
    }

    pub(super) fn pick(&self, hash: u64, attempt: u32) -> Option<Rc<Host>> {
        if self.table.is_empty() {
            return None;
        }
        // Another attempt looks elsewhere, always in the same places.
        let hash = match attempt {
            0 => hash,
            attempt => hash ^ (u64::MAX - u64::from(attempt) + 1),
        };
        let host = self.table[(hash % self.table.len() as u64) as usize];
        self.hosts.get(host as usize).cloned()
    }
}

fn build(keys: &[(String, f64)], table_size: u32) -> Vec<u32> {
    const FREE: u32 = u32::MAX;
    if keys.is_empty() {
        return Vec::new();
    }
    let size = u64::from(table_size);
    let mut order: Vec<usize> = (0..keys.len()).collect();
    order.sort_by(|a, b| keys[*a].0.cmp(&keys[*b].0));
    let most = keys.iter().map(|(_, weight)| *weight).fold(0.0, f64::max);
    let mut permutations: Vec<Permutation> = order
        .into_iter()
        .map(|host| {
            let (key, weight) = &keys[host];
            Permutation {
                host: host as u32,
                offset: xxh64(key.as_bytes(), 0) % size,
                skip: xxh64(key.as_bytes(), 1) % (size - 1) + 1,
                next: 0,
                weight: *weight,
                target: 0.0,
            }
        })
        .collect();
    let mut table = vec![FREE; table_size as usize];
    let mut filled = 0;
    let mut iteration = 0.0;
    while filled < size {
        iteration += 1.0;
        for permutation in &mut permutations {
            if filled == size {
                break;
            }
            // A host with a third of the greatest weight takes a place in every third iteration.
            if iteration * permutation.weight < permutation.target {
                continue;
            }
            permutation.target += most;
            let place = permutation.take_free(&table, FREE);
            table[place] = permutation.host;
            filled += 1;
        }
    }
    table
}

impl Permutation {
    fn take_free(&mut self, table: &[u32], free: u32) -> usize {
        loop {
            let place = (self.offset + self.skip * self.next) % table.len() as u64;
            self.next += 1;
            if table[place as usize] == free {
                return place as usize;
            }
        }
    }
}

#[cfg(test)]
mod tests;
