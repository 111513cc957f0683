//! What the filters of a chain know of one stream: which of them work for it, and what they keep about it.

use std::any::Any;
use std::cell::{RefCell, RefMut};
use std::rc::Rc;

use smallvec::SmallVec;

use super::chain::FilterChain;
use crate::config::route::overrides::FilterOverrides;

/// The filters of one chain for one stream.
#[derive(Debug)]
pub struct StreamFilters {
    /// The chain.
    pub chain: Rc<FilterChain>,
    /// A bit for each filter that works for this stream.
    enabled: u64,
    states: SmallVec<[(u8, State); 2]>,
}

/// What a filter keeps: a cell, shared with the body that the filter watches.
#[derive(Debug, Clone)]
pub struct State(Rc<dyn Any>);

impl StreamFilters {
    /// The filters of a chain for a stream of which no route is known.
    pub fn new(chain: Rc<FilterChain>) -> Self {
        let enabled = chain.enabled_by_default();
        Self {
            chain,
            enabled,
            states: SmallVec::new(),
        }
    }

    /// Switches filters on and off as a route wants it.
    pub fn enable(&mut self, route: &FilterOverrides) {
        self.enabled = self.chain.enabled_for(route);
    }

    /// True if the filter at a position works for this stream.
    #[inline]
    pub fn is_enabled(&self, position: u8) -> bool {
        self.enabled & (1 << position) != 0
    }

    /// What the filter at a position keeps.
    pub(super) fn state(&self, position: u8) -> Option<&State> {
        let mut states = self.states.iter();
        states.find(|(at, _)| *at == position).map(|(_, s)| s)
    }

    /// Keeps something for the filter at a position, in place of what it kept.
    pub(super) fn set_state(&mut self, position: u8, state: State) {
        self.states.retain(|(at, _)| *at != position);
        self.states.push((position, state));
    }
}

impl State {
    /// A filter's state.
    pub fn new<S: 'static>(state: S) -> Self {
        Self(Rc::new(RefCell::new(state)))
    }

    /// The state, if it is of this type. Calls of filters do not nest, so it is never borrowed twice.
    pub fn get<S: 'static>(&self) -> Option<RefMut<'_, S>> {
        self.0.downcast_ref::<RefCell<S>>().map(RefCell::borrow_mut)
    }
}
