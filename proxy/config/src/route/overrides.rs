//! What routes say to filters (`typed_per_filter_config`), merged over all levels when the table is applied.

use std::sync::Arc;

use crate::filter::{FilterConfig, FilterData};

/// The overrides that hold for one route, by filter name. Mostly empty, hardly ever more than two.
#[derive(Debug, Default, Clone)]
pub struct FilterOverrides {
    entries: Vec<(Arc<str>, FilterOverride)>,
}

/// What a route says to one filter.
#[derive(Debug, Clone)]
pub struct FilterOverride {
    /// The filter is off for this route; otherwise it is on, even if its chain has it switched off.
    pub disabled: bool,
    /// Its configuration for this route.
    pub config: Option<FilterConfig>,
}

impl FilterOverrides {
    /// True if nothing is said.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What is said to a filter.
    #[inline]
    pub fn get(&self, filter: &str) -> Option<&FilterOverride> {
        let entry = self.entries.iter().find(|(name, _)| &**name == filter);
        entry.map(|(_, said)| said)
    }

    /// The configuration of a filter, if it is of this type.
    #[inline]
    pub fn config<T: FilterData>(&self, filter: &str) -> Option<&T> {
        self.get(filter)?.config.as_ref()?.get()
    }

    /// Says something to a filter over what an outer level said: whether it works is this level's own, a
    /// configuration that this level does not have stays.
    pub fn set(&mut self, filter: &str, mut said: FilterOverride) {
        match self.entries.iter_mut().find(|(name, _)| &**name == filter) {
            Some((_, outer)) => {
                said.config = said.config.or_else(|| outer.config.take());
                *outer = said;
            }
            None => self.entries.push((filter.into(), said)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(disabled: bool, config: Option<u32>) -> FilterOverride {
        FilterOverride {
            disabled,
            config: config.map(|number| FilterConfig::new("n", number)),
        }
    }

    #[test]
    fn the_inner_level_wins_and_keeps_what_it_does_not_say() {
        let mut overrides = FilterOverrides::default();
        let found = |overrides: &FilterOverrides| {
            let disabled = overrides.get("f").map(|said| said.disabled);
            (disabled, overrides.config::<u32>("f").copied())
        };
        assert_eq!(found(&overrides), (None, None));
        overrides.set("f", said(false, Some(1)));
        assert_eq!(found(&overrides), (Some(false), Some(1)));
        overrides.set("f", said(true, None));
        assert_eq!(found(&overrides), (Some(true), Some(1)));
        overrides.set("f", said(false, Some(2)));
        assert_eq!(found(&overrides), (Some(false), Some(2)));
    }
}
