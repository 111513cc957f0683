//! HTTP filters as configured: a type and its configuration, from which the HTTP layer builds the filter.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

pub mod cors;
pub mod fault;
pub mod peer_metadata;
pub mod stats;

/// A filter in its place.
#[derive(Debug, Clone)]
pub struct HttpFilter {
    /// Its name in `http_filters`, by which routes override it (`typed_per_filter_config`).
    pub name: Arc<str>,
    /// The message that configures it, e.g. `envoy.extensions.filters.http.cors.v3.Cors`.
    pub kind: Box<str>,
    /// What it says.
    pub config: FilterConfig,
    /// Off unless a route switches it on (`disabled`).
    pub disabled: bool,
}

/// The configuration of one filter, of the type that the filter knows.
#[derive(Clone)]
pub struct FilterConfig(Arc<dyn Any + Send + Sync>);

impl FilterConfig {
    /// A configuration of some type.
    pub fn new<T: Any + Send + Sync>(config: T) -> Self {
        Self(Arc::new(config))
    }

    /// The configuration, if it is of this type.
    pub fn get<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        self.0.clone().downcast().ok()
    }
}

impl Default for FilterConfig {
    /// For filters that have nothing to configure.
    fn default() -> Self {
        Self::new(())
    }
}

impl fmt::Debug for FilterConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FilterConfig")
    }
}
