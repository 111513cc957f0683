//! A bound on the connections of a listener. Where it is reached, the address with the most loses its newest: whoever
//! opens many connections does so at their own expense.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// Places for connections.
#[derive(Clone, Debug)]
pub(super) struct Connections {
    open: Arc<Mutex<Open>>,
    max: usize,
}

#[derive(Debug, Default)]
struct Open {
    last_id: u64,
    total: usize,
    /// By address the connections that are open, oldest first.
    by_address: HashMap<IpAddr, Vec<(u64, CancellationToken)>>,
}

/// A connection's place, given up when dropped.
#[derive(Debug)]
pub(super) struct Place {
    connections: Connections,
    address: IpAddr,
    id: u64,
    lost: CancellationToken,
}

impl Connections {
    pub(super) fn new(max: usize) -> Self {
        Self {
            open: Arc::default(),
            max,
        }
    }

    /// A place; none where all are taken and no address has more of them than this one.
    pub(super) fn open(&self, address: IpAddr) -> Option<Place> {
        let mut open = self.lock();
        if open.total >= self.max {
            open.displace_for(address)?;
        }
        open.last_id += 1;
        open.total += 1;
        let (id, lost) = (open.last_id, CancellationToken::new());
        let own = open.by_address.entry(address).or_default();
        own.push((id, lost.clone()));
        drop(open);
        Some(Place {
            connections: self.clone(),
            address,
            id,
            lost,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        // Nothing panics while it is held.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn displace_for(&mut self, address: IpAddr) -> Option<()> {
        let own = self.by_address.get(&address).map_or(0, Vec::len);
        let most = self.by_address.values_mut().max_by_key(|of| of.len())?;
        if most.len() <= own + 1 {
            return None;
        }
        let (_, newest) = most.pop()?;
        self.total -= 1;
        newest.cancel();
        Some(())
    }

    fn close(&mut self, address: IpAddr, id: u64) {
        let Some(own) = self.by_address.get_mut(&address) else {
            return;
        };
        // One that was displaced is not there any more.
        if let Some(at) = own.iter().position(|(other, _)| *other == id) {
            own.remove(at);
            self.total -= 1;
        }
        if own.is_empty() {
            self.by_address.remove(&address);
        }
    }
}

impl Place {
    /// Returns when the place was given to another address.
    pub(super) async fn lost(&self) {
        self.lost.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.lock().close(self.address, self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const A: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    const B: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));

    #[tokio::test]
    async fn the_address_with_the_most_loses_its_newest() {
        let connections = Connections::new(3);
        let first = connections.open(A).unwrap();
        let second = connections.open(A).unwrap();
        let third = connections.open(A).unwrap();
        assert!(connections.open(A).is_none());
        let other = connections.open(B).unwrap();
        third.lost().await;
        assert!(!first.lost.is_cancelled() && !second.lost.is_cancelled());
        // Two and one.
        assert!(connections.open(B).is_none());
        drop(third);
        assert!(connections.open(B).is_none(), "it had no place any more");
        drop(first);
        let another = connections.open(B).unwrap();
        drop((second, other, another));
        let open = connections.lock();
        assert_eq!((open.total, open.by_address.len()), (0, 0));
    }
}
