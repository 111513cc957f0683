//! The HTTP connection manager: its configuration, and the access logs that are built from it. Its filters are built
//! per worker ([`filter::chain`](super::filter::chain)).

use std::ops::Deref;
use std::sync::Arc;

use crate::config::error::ConfigError;
use crate::config::http::HttpConnectionManager;
use crate::telemetry::access_log::AccessLogs;
use crate::telemetry::log_sink::LogSinks;

/// A connection manager with its live parts. Reads as its configuration otherwise.
#[derive(Debug)]
pub struct ConnectionManager {
    /// What it is built from.
    pub config: Arc<HttpConnectionManager>,
    /// Access logs, formats compiled.
    pub access_logs: AccessLogs,
}

impl ConnectionManager {
    /// Opens the access logs of a configuration.
    ///
    /// # Errors
    /// When a log cannot be written.
    pub fn new(config: Arc<HttpConnectionManager>, sinks: &LogSinks) -> Result<Self, ConfigError> {
        Ok(Self {
            access_logs: AccessLogs::new(&config.access_logs, sinks)?,
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
