//! `Telemetry`.

use mesh_api::telemetry::{AccessLogging, Telemetry, WorkloadMode};

use super::{Scope, label_selector};
use crate::crd::telemetry as wire;

pub(super) fn normalize(spec: &wire::Telemetry, scope: &Scope<'_>) -> Telemetry {
    Telemetry {
        meta: scope.meta.clone(),
        selector: label_selector(spec.selector.as_ref()),
        access_logging: spec.access_logging.iter().map(access_logging).collect(),
    }
}

fn access_logging(wire: &wire::AccessLogging) -> AccessLogging {
    let mode = wire
        .r#match
        .as_ref()
        .map(|selector| selector.mode)
        .unwrap_or_default();
    AccessLogging {
        mode: match mode {
            wire::WorkloadMode::ClientAndServer => WorkloadMode::ClientAndServer,
            wire::WorkloadMode::Client => WorkloadMode::Client,
            wire::WorkloadMode::Server => WorkloadMode::Server,
        },
        providers: wire
            .providers
            .iter()
            .map(|provider| provider.name.as_str().into())
            .collect(),
        disabled: wire.disabled,
    }
}
