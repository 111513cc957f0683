//! A bounded queue in which callers take turns.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

/// What waits, by caller.
#[derive(Debug)]
pub(super) struct Lanes<T> {
    /// None is empty.
    lanes: HashMap<IpAddr, VecDeque<T>>,
    /// The callers with lanes; the next turn is the first's.
    turns: VecDeque<IpAddr>,
    len: usize,
    max: usize,
}

impl<T> Lanes<T> {
    pub(super) fn new(max: usize) -> Self {
        Self {
            lanes: HashMap::new(),
            turns: VecDeque::new(),
            len: 0,
            max,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_full(&self) -> bool {
        self.len >= self.max
    }

    /// Adds to the caller's lane. Returns what has no place: the newest of the caller with the longest lane, which is
    /// the item itself unless somebody else has more waiting.
    pub(super) fn push(&mut self, caller: IpAddr, item: T) -> Option<(IpAddr, T)> {
        let displaced = match self.is_full() {
            false => None,
            true => {
                let waiting = self.lanes.get(&caller).map_or(0, VecDeque::len);
                match self.longest().filter(|(_, longest)| *longest > waiting + 1) {
                    Some((loser, _)) => Some(self.take_newest(loser)),
                    None => return Some((caller, item)),
                }
            }
        };
        let lane = self.lanes.entry(caller).or_default();
        if lane.is_empty() {
            self.turns.push_back(caller);
        }
        lane.push_back(item);
        self.len += 1;
        displaced
    }

    /// The oldest of the caller whose turn it is.
    pub(super) fn pop(&mut self) -> Option<T> {
        let caller = self.turns.pop_front()?;
        let lane = self.lanes.get_mut(&caller)?;
        let item = lane.pop_front()?;
        self.len -= 1;
        match lane.is_empty() {
            true => drop(self.lanes.remove(&caller)),
            false => self.turns.push_back(caller),
        }
        Some(item)
    }

    /// Removes what does not fit.
    pub(super) fn retain(&mut self, fits: impl Fn(&T) -> bool) {
        self.lanes.retain(|_, lane| {
            lane.retain(&fits);
            !lane.is_empty()
        });
        self.turns.retain(|caller| self.lanes.contains_key(caller));
        self.len = self.lanes.values().map(VecDeque::len).sum();
    }

    /// Among equals the one whose turn comes last.
    fn longest(&self) -> Option<(IpAddr, usize)> {
        let lengths = self
            .turns
            .iter()
            .map(|caller| (*caller, self.lanes[caller].len()));
        lengths.max_by_key(|(_, length)| *length)
    }

    /// The loser's lane has more than one, so it keeps its turn.
    fn take_newest(&mut self, loser: IpAddr) -> (IpAddr, T) {
        let lane = self.lanes.get_mut(&loser).expect("the longest lane exists");
        let newest = lane.pop_back().expect("no lane is empty");
        self.len -= 1;
        (loser, newest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    fn filled(items: &[(IpAddr, u32)]) -> Lanes<u32> {
        let mut lanes = Lanes::new(items.len());
        for (caller, item) in items {
            assert_eq!(lanes.push(*caller, *item), None);
        }
        lanes
    }

    fn rest(mut lanes: Lanes<u32>) -> Vec<u32> {
        std::iter::from_fn(|| lanes.pop()).collect()
    }

    #[test]
    fn callers_take_turns() {
        let lanes = filled(&[(A, 1), (A, 2), (A, 3), (B, 4), (B, 5)]);
        assert_eq!(rest(lanes), [1, 4, 2, 5, 3]);
    }

    #[test]
    fn the_longest_lane_loses_its_newest() {
        let mut lanes = filled(&[(A, 1), (A, 2), (A, 3)]);
        assert_eq!(lanes.push(A, 4), Some((A, 4)));
        assert_eq!(lanes.push(B, 5), Some((A, 3)));
        // Two and one: nobody has so much more that taking it would even things out.
        assert_eq!(lanes.push(B, 6), Some((B, 6)));
        assert_eq!((lanes.len(), lanes.is_full()), (3, true));
        assert_eq!(rest(lanes), [1, 5, 2]);
    }

    #[test]
    fn what_does_not_fit_makes_room() {
        let mut lanes = filled(&[(A, 1), (A, 2), (B, 3)]);
        lanes.retain(|item| *item == 2);
        assert_eq!(lanes.len(), 1);
        assert_eq!(lanes.push(B, 4), None);
        assert_eq!(rest(lanes), [2, 4]);
    }

    #[test]
    fn without_places_everything_is_refused() {
        assert_eq!(Lanes::new(0).push(A, 1), Some((A, 1)));
    }
}
