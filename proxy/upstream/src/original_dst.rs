//! Hosts of `ORIGINAL_DST` clusters: made when a client wants to go there, forgotten when nobody does.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::{ClusterCore, Host};
use crate::config::cluster::OriginalDstOptions;
use crate::config::endpoint::{Endpoint, Health};
use crate::shared::SharedEndpoint;

/// The hosts that were asked for.
#[derive(Debug, Clone)]
pub(super) struct OriginalDst {
    options: OriginalDstOptions,
    hosts: Rc<RefCell<HashMap<SocketAddr, Used>>>,
}

#[derive(Debug)]
struct Used {
    host: Rc<Host>,
    last: Instant,
}

impl OriginalDst {
    pub(super) fn new(options: OriginalDstOptions) -> Self {
        Self {
            options,
            hosts: Rc::default(),
        }
    }

    /// The same hosts, for a cluster that was rebuilt with the same configuration.
    pub(super) fn share(&self) -> Self {
        self.clone()
    }

    /// The host at a destination; none without a destination.
    pub(super) fn host(
        &self,
        core: &Rc<ClusterCore>,
        destination: Option<SocketAddr>,
    ) -> Option<Rc<Host>> {
        let mut address = destination?;
        if let Some(port) = self.options.port_override {
            address.set_port(port);
        }
        let mut hosts = self.hosts.borrow_mut();
        let used = hosts.entry(address).or_insert_with(|| Used {
            host: Host::new(core.clone(), shared(address)),
            last: Instant::now(),
        });
        used.last = Instant::now();
        Some(used.host.clone())
    }

    pub(super) fn sweep(&self, now: Instant) {
        let interval = self.options.cleanup_interval;
        self.hosts.borrow_mut().retain(|_, used| {
            used.host.sweep(now);
            // Someone still sends to it, or recently did.
            let keep = used.host.is_in_use() || now.duration_since(used.last) < interval;
            if !keep {
                used.host.retire();
            }
            keep
        });
    }

    pub(super) fn retire_all(&self) {
        self.hosts
            .borrow_mut()
            .drain()
            .for_each(|(_, used)| used.host.retire());
    }
}

fn shared(address: SocketAddr) -> SharedEndpoint {
    SharedEndpoint {
        config: Arc::new(endpoint(address)),
        monitor: Arc::default(),
    }
}

fn endpoint(address: SocketAddr) -> Endpoint {
    Endpoint {
        address,
        hostname: Box::default(),
        weight: 1,
        health: Health::Healthy,
        metadata: Default::default(),
        peer: None,
    }
}
