//! Listening sockets: one per worker and address, bound by the control thread.
//!
//! The control thread binds, so that an address that cannot be had is a rejected listener and not a surprise
//! on a worker. Every socket of an address has `SO_REUSEPORT`; the kernel spreads connections over them by
//! their addresses. A worker takes its socket once and owns it from then on. An update that keeps the address
//! keeps the sockets, so no connection in an accept queue is lost.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use socket2::{Domain, Protocol, Socket, Type};

use crate::config::listener::BindOptions;

/// The sockets of one address, one per worker.
#[derive(Debug)]
pub struct ListenSocket {
    address: SocketAddr,
    options: BindOptions,
    by_worker: Vec<Mutex<Option<Socket>>>,
}

impl ListenSocket {
    /// The address, with the port that the kernel chose if the configuration says 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The socket of a worker, listening. A worker that gave its socket up and wants it back gets a new one.
    pub fn take(&self, worker: usize) -> io::Result<TcpListener> {
        let prepared = self.by_worker.get(worker).and_then(|slot| {
            let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
            slot.take()
        });
        let socket = match prepared {
            Some(socket) => socket,
            None => bind(self.address, self.options)?,
        };
        let backlog = i32::try_from(self.options.backlog).unwrap_or(i32::MAX);
        socket.listen(backlog)?;
        Ok(socket.into())
    }
}

/// Binds addresses and remembers what is bound, so that an updated listener gets the sockets it had. Clones
/// share the memory.
#[derive(Debug, Clone)]
pub struct Sockets {
    workers: usize,
    bound: Arc<Mutex<HashMap<SocketAddr, Weak<ListenSocket>>>>,
}

impl Sockets {
    /// For this many workers. With none nothing is ever bound, which suits offline checks of a configuration.
    pub fn new(workers: usize) -> Self {
        Self {
            workers,
            bound: Arc::default(),
        }
    }

    /// The sockets of an address: those already bound with the same options, or new ones.
    pub fn bind(&self, address: SocketAddr, options: BindOptions) -> io::Result<Arc<ListenSocket>> {
        let mut bound = self.bound.lock().unwrap_or_else(PoisonError::into_inner);
        bound.retain(|_, socket| socket.strong_count() > 0);
        if address.port() != 0
            && let Some(socket) = bound.get(&address).and_then(Weak::upgrade)
            && socket.options == options
        {
            return Ok(socket);
        }
        let socket = Arc::new(self.open(address, options)?);
        bound.insert(socket.address, Arc::downgrade(&socket));
        Ok(socket)
    }

    fn open(&self, address: SocketAddr, options: BindOptions) -> io::Result<ListenSocket> {
        let mut address = address;
        let mut by_worker = Vec::with_capacity(self.workers);
        for _ in 0..self.workers {
            let socket = bind(address, options)?;
            // Port 0: the first socket chooses, the others follow.
            if let Some(chosen) = socket.local_addr()?.as_socket() {
                address = chosen;
            }
            by_worker.push(Mutex::new(Some(socket)));
        }
        Ok(ListenSocket {
            address,
            options,
            by_worker,
        })
    }
}

fn bind(address: SocketAddr, options: BindOptions) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.nonblocking().cloexec(),
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    if address.is_ipv6() {
        // `[::]` and `0.0.0.0` are listeners of their own, as in Envoy without `ipv4_compat`.
        socket.set_only_v6(true)?;
    }
    if options.transparent {
        match address {
            SocketAddr::V4(_) => socket.set_ip_transparent_v4(true)?,
            SocketAddr::V6(_) => socket.set_ip_transparent_v6(true)?,
        }
    }
    if options.freebind {
        match address {
            SocketAddr::V4(_) => socket.set_freebind_v4(true)?,
            SocketAddr::V6(_) => socket.set_freebind_v6(true)?,
        }
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: BindOptions = BindOptions {
        transparent: false,
        freebind: false,
        backlog: 16,
    };

    #[test]
    fn an_address_keeps_its_sockets_and_each_worker_takes_one() {
        let sockets = Sockets::new(2);
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let first = sockets.bind(any, OPTIONS).unwrap();
        let again = sockets.bind(first.address(), OPTIONS).unwrap();
        assert!(Arc::ptr_eq(&first, &again));
        let one = first.take(0).unwrap();
        let two = first.take(1).unwrap();
        assert_eq!(one.local_addr().unwrap(), two.local_addr().unwrap());
        drop(one);
        let anew = again.take(0).unwrap();
        assert_eq!(anew.local_addr().unwrap(), first.address());
    }

    #[test]
    fn an_address_in_use_by_someone_else_is_an_error() {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let error = Sockets::new(1)
            .bind(other.local_addr().unwrap(), OPTIONS)
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}
