//! What routes say to filters (`typed_per_filter_config`), merged over all levels when the table is applied.

use std::sync::Arc;

use crate::filter::{cors::CorsPolicy, fault::FaultConfig};
use crate::rbac::Rbac;

/// The overrides that hold for one route, by filter name. Mostly empty, hardly ever more than two.
#[derive(Debug, Default, Clone)]
pub struct FilterOverrides {
    /// What is said, by filter name.
    pub values: Vec<(Arc<str>, FilterOverride)>,
    /// Filters that are switched on or off, by name.
    pub disabled: Vec<(Arc<str>, bool)>,
}

/// What a route says to one filter.
#[derive(Debug, Clone)]
pub enum FilterOverride {
    /// `RBACPerRoute`.
    Rbac(Arc<Rbac>),
    /// `HTTPFault`.
    Fault(Arc<FaultConfig>),
    /// `CorsPolicy`.
    Cors(Arc<CorsPolicy>),
}

impl FilterOverrides {
    /// What is said to a filter.
    #[inline]
    pub fn get(&self, filter: &str) -> Option<&FilterOverride> {
        if self.values.is_empty() {
            return None;
        }
        self.values
            .iter()
            .find(|(name, _)| &**name == filter)
            .map(|(_, value)| value)
    }

    /// True or false if the filter is switched off or on for this route.
    #[inline]
    pub fn disabled(&self, filter: &str) -> Option<bool> {
        if self.disabled.is_empty() {
            return None;
        }
        self.disabled
            .iter()
            .rfind(|(name, _)| &**name == filter)
            .map(|(_, disabled)| *disabled)
    }

    /// Says something to a filter, in place of what an outer level said.
    pub fn set(&mut self, filter: &str, value: FilterOverride) {
        match self.values.iter_mut().find(|(name, _)| &**name == filter) {
            Some((_, slot)) => *slot = value,
            None => self.values.push((filter.into(), value)),
        }
    }
}
