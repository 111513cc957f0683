//! HTTP filters as configured: a type, plain data of that type, and a place in a chain.
//!
//! What the data means is known to two places only: the translation from protobuf makes it, and the filter of that
//! type reads it. Everything between them carries it as it is, so that a further filter needs no line here.

use std::any::Any;
use std::fmt::Debug;
use std::sync::{Arc, Weak};

pub mod cors;
pub mod fault;
pub mod peer_metadata;
pub mod stats;

/// How many filters a chain may have.
pub const FILTERS_MAX: usize = 64;

/// The configuration of one filter, or what a route says to it.
#[derive(Debug, Clone)]
pub struct FilterConfig {
    kind: Arc<str>,
    data: Arc<dyn FilterData>,
}

/// Plain data that a filter is configured by.
pub trait FilterData: Any + Debug + Send + Sync {}

impl<T: Any + Debug + Send + Sync> FilterData for T {}

/// A filter in its place.
#[derive(Debug, Clone)]
pub struct FilterSpec {
    /// Its name in `http_filters`, by which routes configure it.
    pub name: Arc<str>,
    /// Its type and configuration.
    pub config: FilterConfig,
    /// Off unless a route switches it on (`disabled`).
    pub disabled: bool,
}

impl FilterConfig {
    /// Data of a filter of this type (the message's full name).
    pub fn new(kind: &str, data: impl FilterData) -> Self {
        Self {
            kind: kind.into(),
            data: Arc::new(data),
        }
    }

    /// The same of data that is shared already.
    pub fn shared(kind: &str, data: Arc<dyn FilterData>) -> Self {
        let kind = kind.into();
        Self { kind, data }
    }

    /// The full name of the message that configures the filter.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The data, if it is of this type.
    #[inline]
    pub fn get<T: FilterData>(&self) -> Option<&T> {
        let data: &dyn Any = &*self.data;
        data.downcast_ref()
    }

    /// A reference that does not keep the data.
    pub fn downgrade(&self) -> Weak<dyn FilterData> {
        Arc::downgrade(&self.data)
    }

    /// The same for all clones of one configuration, and different from all others that live.
    pub fn identity(&self) -> usize {
        Arc::as_ptr(&self.data).cast::<()>() as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_read_as_what_it_is() {
        let config = FilterConfig::new("a.B", 7u32);
        assert_eq!(config.get::<u32>(), Some(&7));
        assert_eq!(config.get::<u64>(), None);
        assert_eq!(config.clone().identity(), config.identity());
        assert_ne!(FilterConfig::new("a.B", 7u32).identity(), config.identity());
    }
}
