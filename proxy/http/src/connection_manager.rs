//! The HTTP connection manager: its configuration, and the filters and access logs that are built from it.

use std::ops::Deref;
use std::sync::Arc;

use super::filter::{FilterSlot, registry};
use crate::config::error::{ConfigError, Within};
use crate::config::http::HttpConnectionManager;
use crate::telemetry::access_log::AccessLogs;
use crate::telemetry::log_sink::LogSinks;

/// A connection manager with its live parts. Reads as its configuration otherwise.
#[derive(Debug)]
pub struct ConnectionManager {
    /// What it is built from.
    pub config: Arc<HttpConnectionManager>,
    /// The filters in order, without the router, which comes after them.
    pub filters: Vec<FilterSlot>,
    /// Access logs, formats compiled.
    pub access_logs: AccessLogs,
}

impl ConnectionManager {
    /// Builds the filters of a configuration and opens its access logs.
    ///
    /// # Errors
    /// When a filter does not exist or a log cannot be written.
    pub fn new(config: Arc<HttpConnectionManager>, sinks: &LogSinks) -> Result<Self, ConfigError> {
        let mut filters = Vec::with_capacity(config.filters.len());
        for (n, filter) in config.filters.iter().enumerate() {
            let built = registry::build(filter);
            filters.push(FilterSlot {
                filter: built.within(format_args!("http_filters[{n}]"))?,
                disabled: filter.disabled,
            });
        }
        Ok(Self {
            access_logs: AccessLogs::new(&config.access_logs, sinks)?,
            filters,
            config,
        })
    }
}

impl Deref for ConnectionManager {
    type Target = HttpConnectionManager;

    fn deref(&self) -> &HttpConnectionManager {
        &self.config
    }
}
