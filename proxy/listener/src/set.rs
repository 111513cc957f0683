//! The listeners of one worker: accept loops and drains, kept in step with the configuration.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::accept::{self, Current};
use super::balance::Balance;
use super::socket::ListenSocket;
use crate::config::listener::Direction;
use crate::shared::{Listeners, SharedChain, SharedListener};
use crate::worker::ListeningWorker;

/// What a worker knows of its listeners.
#[derive(Debug, Default)]
pub struct ListenerSet {
    accepting: RefCell<HashMap<*const ListenSocket, Accepting>>,
    by_address: RefCell<HashMap<SocketAddr, Arc<SharedListener>>>,
    chains: RefCell<HashMap<*const SharedChain, Chain>>,
    connections: Cell<u64>,
}

#[derive(Debug)]
struct Accepting {
    /// Keeps the pointer, by which this is found, from being given to another socket.
    _socket: Arc<ListenSocket>,
    current: Current,
    stop: CancellationToken,
}

#[derive(Debug)]
struct Chain {
    /// As above.
    _chain: Arc<SharedChain>,
    drain: ChainDrain,
}

/// How the connections of a filter chain are ended.
#[derive(Debug, Clone, Default)]
pub struct ChainDrain {
    /// Finish what is running, begin nothing new.
    pub graceful: CancellationToken,
    /// Close now.
    pub cut: CancellationToken,
}

impl ChainDrain {
    /// Asks connections to finish and cuts them after `limit`.
    fn start(self, limit: Duration) {
        self.graceful.cancel();
        tokio::task::spawn_local(async move {
            tokio::time::sleep(limit).await;
            self.cut.cancel();
        });
    }
}

impl ListenerSet {
    /// Follows a new configuration: starts and stops accept loops, drains chains that are gone.
    pub fn follow(
        &self,
        worker: &Rc<ListeningWorker>,
        balance: &Arc<Balance>,
        listeners: &Listeners,
        drain: Duration,
    ) {
        self.index(listeners);
        self.follow_sockets(worker, balance, listeners);
        self.follow_chains(listeners, drain);
    }

    fn index(&self, listeners: &Listeners) {
        let mut by_address = self.by_address.borrow_mut();
        by_address.clear();
        for listener in listeners.values() {
            let more = listener.additional_addresses.iter().copied();
            for address in std::iter::once(listener.address).chain(more) {
                by_address.insert(address, listener.clone());
            }
        }
    }

    fn follow_sockets(
        &self,
        worker: &Rc<ListeningWorker>,
        balance: &Arc<Balance>,
        listeners: &Listeners,
    ) {
        let mut accepting = self.accepting.borrow_mut();
        let mut wanted = HashSet::new();
        for listener in listeners.values() {
            for socket in &listener.sockets {
                let key = Arc::as_ptr(socket);
                wanted.insert(key);
                if let Some(running) = accepting.get(&key) {
                    *running.current.borrow_mut() = listener.clone();
                } else if let Some(started) = start(worker, balance, listener, socket) {
                    accepting.insert(key, started);
                }
            }
        }
        accepting.retain(|key, running| {
            let keep = wanted.contains(key);
            if !keep {
                running.stop.cancel();
            }
            keep
        });
    }

    fn follow_chains(&self, listeners: &Listeners, drain: Duration) {
        let mut old = std::mem::take(&mut *self.chains.borrow_mut());
        let mut chains = HashMap::new();
        for listener in listeners.values() {
            for chain in listener.chains() {
                let key = Arc::as_ptr(chain);
                let entry = old.remove(&key).unwrap_or_else(|| Chain {
                    _chain: chain.clone(),
                    drain: ChainDrain::default(),
                });
                chains.insert(key, entry);
            }
        }
        *self.chains.borrow_mut() = chains;
        for gone in old.into_values() {
            gone.drain.start(drain);
        }
    }

    /// Stops accepting from outside. Listeners for the local application go on: it may still have to talk to
    /// finish its own work.
    pub fn stop_accepting(&self) {
        self.accepting.borrow_mut().retain(|_, running| {
            let keep = running.current.borrow().direction == Direction::Outbound;
            if !keep {
                running.stop.cancel();
            }
            keep
        });
    }

    /// Asks all connections to finish.
    pub fn drain(&self) {
        for chain in self.chains.borrow().values() {
            chain.drain.graceful.cancel();
        }
    }

    /// Closes all connections.
    pub fn cut(&self) {
        for chain in self.chains.borrow().values() {
            chain.drain.cut.cancel();
        }
    }

    /// How a chain's connections are ended. A chain that has left the configuration meanwhile is draining.
    pub(super) fn chain(&self, chain: &Arc<SharedChain>) -> ChainDrain {
        match self.chains.borrow().get(&Arc::as_ptr(chain)) {
            Some(chain) => chain.drain.clone(),
            None => {
                let drain = ChainDrain::default();
                drain.graceful.cancel();
                drain
            }
        }
    }

    /// The listener for an original destination: of this very address, else of this port on any address.
    pub(super) fn by_destination(&self, destination: SocketAddr) -> Option<Arc<SharedListener>> {
        let any: IpAddr = match destination {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let by_address = self.by_address.borrow();
        by_address
            .get(&destination)
            .or_else(|| by_address.get(&SocketAddr::new(any, destination.port())))
            .cloned()
    }

    /// Unique within the process.
    pub(super) fn next_connection_id(&self, worker: usize) -> u64 {
        let next = self.connections.get() + 1;
        self.connections.set(next);
        // Workers count in ranges of their own.
        ((worker as u64) << 48) | next
    }
}

fn start(
    worker: &Rc<ListeningWorker>,
    balance: &Arc<Balance>,
    listener: &Arc<SharedListener>,
    socket: &Arc<ListenSocket>,
) -> Option<Accepting> {
    let taken = socket.take(worker.index).and_then(TcpListener::from_std);
    let taken = match taken {
        Ok(taken) => taken,
        Err(error) => {
            tracing::error!(listener = &*listener.name, %error, "cannot listen");
            return None;
        }
    };
    let current: Current = Rc::new(RefCell::new(listener.clone()));
    let stop = CancellationToken::new();
    tokio::task::spawn_local(accept::run(
        worker.clone(),
        balance.clone(),
        taken,
        current.clone(),
        stop.clone(),
    ));
    Some(Accepting {
        _socket: socket.clone(),
        current,
        stop,
    })
}
