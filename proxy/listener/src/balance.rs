//! Levelling connections between workers.
//!
//! `SO_REUSEPORT` spreads connections by a hash, and a few long HTTP/2 connections easily land on one worker.
//! A connection is therefore handed over where it is cheapest: right after it was accepted, before a byte was
//! read, and only if another worker has clearly less to do. Moving a connection that is in use was considered
//! and left out: its TLS and HTTP state cannot move between threads.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_utils::CachePadded;
use tokio::sync::mpsc;

use crate::shared::SharedListener;

/// A worker gives connections away only if it has this many more than the least busy one.
const SLACK_MIN: usize = 4;

/// A connection on its way to another worker.
#[derive(Debug)]
pub struct Handed {
    /// The socket, not registered with any runtime.
    pub socket: std::net::TcpStream,
    /// The client.
    pub peer: SocketAddr,
    /// The listener that accepted it.
    pub listener: Arc<SharedListener>,
    /// Counts it for the receiving worker.
    pub load: Load,
}

/// Connections per worker, and the way to each worker.
#[derive(Debug)]
pub struct Balance {
    active: Arc<[CachePadded<AtomicUsize>]>,
    mailboxes: Vec<mpsc::UnboundedSender<Handed>>,
}

impl Balance {
    /// For this many workers, with the receiving end of each.
    pub fn new(workers: usize) -> (Arc<Self>, Vec<mpsc::UnboundedReceiver<Handed>>) {
        let (mailboxes, receivers) = (0..workers).map(|_| mpsc::unbounded_channel()).unzip();
        let active = (0..workers).map(|_| CachePadded::default()).collect();
        (Arc::new(Self { active, mailboxes }), receivers)
    }

    /// Connections of one worker.
    pub fn active(&self, worker: usize) -> usize {
        self.active[worker].load(Ordering::Relaxed)
    }

    /// Connections of all workers.
    pub fn total(&self) -> usize {
        (0..self.active.len())
            .map(|worker| self.active(worker))
            .sum()
    }

    /// The worker that should have a connection that `worker` has just accepted.
    pub(super) fn choose(&self, worker: usize) -> usize {
        let own = self.active(worker);
        let others = (0..self.active.len()).map(|index| (self.active(index), index));
        match others.min() {
            Some((least, index)) if own >= least + SLACK_MIN.max(least / 8) => index,
            _ => worker,
        }
    }

    /// Counts a connection of `worker` until the value is dropped.
    pub fn count(&self, worker: usize) -> Load {
        self.active[worker].fetch_add(1, Ordering::Relaxed);
        Load {
            active: self.active.clone(),
            worker,
        }
    }

    /// Sends a connection to another worker. If that one is gone, the connection is closed.
    pub(super) fn hand_over(&self, worker: usize, handed: Handed) {
        if self.mailboxes[worker].send(handed).is_err() {
            tracing::debug!(worker, "connection handed to a worker that has ended");
        }
    }
}

/// One connection of one worker.
#[derive(Debug)]
pub struct Load {
    active: Arc<[CachePadded<AtomicUsize>]>,
    worker: usize,
}

impl Drop for Load {
    fn drop(&mut self) {
        self.active[self.worker].fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_goes_elsewhere_only_if_the_difference_is_clear() {
        let (balance, _mailboxes) = Balance::new(2);
        let mut loads: Vec<Load> = (0..SLACK_MIN - 1).map(|_| balance.count(0)).collect();
        assert_eq!(balance.choose(0), 0);
        loads.push(balance.count(0));
        assert_eq!(balance.choose(0), 1);
        assert_eq!(balance.choose(1), 1);
        drop(loads);
        assert_eq!(balance.total(), 0);
    }
}
