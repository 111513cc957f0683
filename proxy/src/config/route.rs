//! Route tables as executed (`envoy.config.route.v3.RouteConfiguration`).

use std::sync::Arc;

/// One route configuration.
#[derive(Debug)]
pub struct RouteConfig {
    /// The resource name.
    pub name: Arc<str>,
}
