//! Resources as they arrive.

use std::sync::Arc;

use bytes::Bytes;
use xds::prost::Message;

use crate::config::error::ConfigError;
use crate::config::secret::ResourceSource;

/// A resource as it arrived.
#[derive(Debug, Clone)]
pub struct Received {
    /// Its name.
    pub name: Arc<str>,
    /// Its version.
    pub version: Arc<str>,
    /// The encoded message.
    pub bytes: Bytes,
}

impl Received {
    pub(super) fn source(&self) -> ResourceSource {
        ResourceSource {
            version: self.version.clone(),
            bytes: self.bytes.clone(),
        }
    }

    pub(super) fn decode<M: Message + Default>(&self) -> Result<M, ConfigError> {
        M::decode(self.bytes.clone())
            .map_err(|error| ConfigError::new("", format!("malformed message: {error}")))
    }
}
