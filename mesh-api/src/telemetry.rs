//! Telemetry objects (Istio `Telemetry`).

use std::sync::Arc;

use crate::labels::Selector;
use crate::resource::Meta;

/// One Telemetry object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Telemetry {
    /// The object; in the root namespace it applies to the mesh.
    pub meta: Meta,
    /// The pods; `None` for the namespace.
    pub selector: Option<Selector>,
    /// `accessLogging[]`.
    pub access_logging: Vec<AccessLogging>,
}

/// One `accessLogging[]` entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLogging {
    /// Where it applies.
    pub mode: WorkloadMode,
    /// Provider names; empty inherits.
    pub providers: Vec<Arc<str>>,
    /// `Some(true)` switches the log off.
    pub disabled: Option<bool>,
}

/// `match.mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum WorkloadMode {
    /// Both sides.
    #[default]
    ClientAndServer,
    /// Outbound.
    Client,
    /// Inbound.
    Server,
}
