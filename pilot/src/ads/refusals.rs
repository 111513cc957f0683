//! Who asked lately and was refused: a proxy without a valid token is connected nowhere, so
//! nothing else tells of it. For the debug pages and `meshctl proxy-status`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// How many callers are remembered.
const CALLERS_MAX: usize = 1024;

/// How many bytes of a reason are kept; it may quote what the caller sent.
const REASON_BYTES_MAX: usize = 512;

/// A proxy asks again within seconds, so whoever was not heard of for this long is gone.
const KEPT: Duration = Duration::from_secs(600);

/// Callers that were refused, by address. Bounded, whoever calls.
#[derive(Clone, Debug, Default)]
pub struct Refusals {
    by_caller: Arc<Mutex<BTreeMap<IpAddr, Refusal>>>,
}

/// What is known of a caller that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why, the last time.
    pub reason: String,
    /// How often in a row.
    pub times: u64,
    /// When, the last time.
    pub last_at: SystemTime,
}

impl Refusals {
    /// Notes that `caller` was refused at `now`.
    pub fn refused(&self, caller: IpAddr, reason: &str, now: SystemTime) {
        let mut callers = self.lock();
        let caller = caller.to_canonical();
        if callers.len() >= CALLERS_MAX && !callers.contains_key(&caller) {
            let oldest = callers.iter().min_by_key(|(_, refusal)| refusal.last_at);
            if let Some(oldest) = oldest.map(|(caller, _)| *caller) {
                callers.remove(&oldest);
            }
        }
        let times = callers.get(&caller).map_or(0, |refusal| refusal.times);
        let end = reason.floor_char_boundary(REASON_BYTES_MAX);
        let refusal = Refusal {
            reason: reason[..end].to_owned(),
            times: times + 1,
            last_at: now,
        };
        callers.insert(caller, refusal);
    }

    /// Notes that `caller` got what it asked for.
    pub fn admitted(&self, caller: IpAddr) {
        self.lock().remove(&caller.to_canonical());
    }

    /// Those of the last ten minutes before `now`.
    pub fn recent(&self, now: SystemTime) -> BTreeMap<IpAddr, Refusal> {
        let mut callers = self.lock();
        callers.retain(|_, refusal| {
            let age = now.duration_since(refusal.last_at);
            age.unwrap_or_default() < KEPT
        });
        callers.clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<IpAddr, Refusal>> {
        // Every write leaves the map whole, so a panic elsewhere does not spoil it.
        self.by_caller
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: SystemTime = SystemTime::UNIX_EPOCH;

    fn caller(number: u32) -> IpAddr {
        IpAddr::V4(number.into())
    }

    #[test]
    fn a_caller_is_remembered_until_it_is_admitted() {
        let refusals = Refusals::default();
        refusals.refused(caller(1), "expired", START);
        refusals.refused("::ffff:0.0.0.1".parse().unwrap(), "foreign", START);
        let expected = Refusal {
            reason: "foreign".to_owned(),
            times: 2,
            last_at: START,
        };
        assert_eq!(refusals.recent(START), [(caller(1), expected)].into());
        refusals.admitted(caller(1));
        assert!(refusals.recent(START).is_empty());
    }

    #[test]
    fn a_caller_that_does_not_come_again_is_forgotten() {
        let refusals = Refusals::default();
        refusals.refused(caller(1), "expired", START);
        assert_eq!(
            refusals.recent(START + KEPT - Duration::from_secs(1)).len(),
            1
        );
        assert!(refusals.recent(START + KEPT).is_empty());
    }

    #[test]
    fn the_oldest_gives_way_and_reasons_are_bounded() {
        let refusals = Refusals::default();
        for number in 0..=CALLERS_MAX as u32 {
            let now = START + Duration::from_millis(number.into());
            refusals.refused(caller(number), &"\u{e9}".repeat(300), now);
        }
        let recent = refusals.recent(START);
        assert_eq!(recent.len(), CALLERS_MAX);
        assert!(!recent.contains_key(&caller(0)));
        assert_eq!(recent[&caller(1)].reason.len(), REASON_BYTES_MAX);
    }
}
