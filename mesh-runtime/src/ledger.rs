//! A bound on the memory that requests hold together, and on the part of it that one caller may hold.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes that are lent out.
#[derive(Clone, Debug)]
pub struct Ledger {
    lent: Arc<Mutex<Lent>>,
    max: usize,
    per_caller: usize,
}

#[derive(Debug, Default)]
struct Lent {
    total: usize,
    by_caller: HashMap<IpAddr, usize>,
}

/// What one request holds, given back when dropped.
#[derive(Debug)]
pub struct Loan {
    ledger: Ledger,
    caller: IpAddr,
    bytes: usize,
}

impl Ledger {
    /// Lends `max` bytes in all, and `per_caller` to one address.
    pub fn new(max: usize, per_caller: usize) -> Self {
        Self {
            lent: Arc::default(),
            max,
            per_caller,
        }
    }

    /// A loan of nothing yet.
    pub fn open(&self, caller: IpAddr) -> Loan {
        Loan {
            ledger: self.clone(),
            caller,
            bytes: 0,
        }
    }

    /// Bytes that are lent now.
    pub fn total(&self) -> usize {
        self.lock().total
    }

    fn lock(&self) -> MutexGuard<'_, Lent> {
        // Nothing panics while it is held.
        self.lent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Loan {
    /// Adds to the loan; false, and nothing added, where that is more than there is.
    #[must_use]
    pub fn grow(&mut self, bytes: usize) -> bool {
        let mut lent = self.ledger.lock();
        let own = lent.by_caller.get(&self.caller).copied().unwrap_or(0);
        let fits = |lent: usize, max: usize| lent.checked_add(bytes).is_some_and(|sum| sum <= max);
        if !fits(lent.total, self.ledger.max) || !fits(own, self.ledger.per_caller) {
            return false;
        }
        lent.total += bytes;
        lent.by_caller.insert(self.caller, own + bytes);
        self.bytes += bytes;
        true
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        let mut lent = self.ledger.lock();
        lent.total -= self.bytes;
        if let Some(own) = lent.by_caller.get_mut(&self.caller) {
            *own -= self.bytes;
            if *own == 0 {
                lent.by_caller.remove(&self.caller);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn no_caller_takes_more_than_its_part_and_all_not_more_than_the_whole() {
        let ledger = Ledger::new(10, 6);
        let caller = |number| IpAddr::V4(Ipv4Addr::new(10, 0, 0, number));
        let mut first = ledger.open(caller(1));
        let mut second = ledger.open(caller(1));
        assert!(first.grow(4));
        assert!(!second.grow(3));
        assert!(second.grow(2));
        let mut other = ledger.open(caller(2));
        assert!(!other.grow(5) && !other.grow(usize::MAX));
        assert!(other.grow(4));
        assert_eq!(ledger.total(), 10);
        drop(first);
        assert_eq!(ledger.total(), 6);
        assert!(second.grow(4));
        drop((second, other));
        assert_eq!(ledger.total(), 0);
        assert!(ledger.lock().by_caller.is_empty());
    }
}
