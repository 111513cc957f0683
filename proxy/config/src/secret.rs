//! Secrets as executed, and where a resource came from.

use std::sync::Arc;

use bytes::Bytes;

/// A resource as it was received: for `config_dump`, and to tell an update that changes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResourceSource {
    /// The version the control plane gave, or `static`.
    pub version: Arc<str>,
    /// The encoded message.
    pub bytes: Bytes,
}

/// The name of a secret and where it is served (`SdsSecretConfig`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SecretRef {
    /// Resource name: `default`, `ROOTCA`, `kubernetes://name` ...
    pub name: Arc<str>,
    /// True if the agent of this process serves it (cluster `sds-grpc`), false for ADS.
    pub from_agent: bool,
}
