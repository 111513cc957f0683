//! `Telemetry`, telemetry.istio.io.
//!
//! `tracing` and `metrics` are kept as plain JSON: they are reported as not
//! supported, and only their presence matters for that.

use super::{LabelSelector, TargetRef, wire};
use crate::decode::jsonpb::wire_enum;

wire! {
    Telemetry {
        selector: Option<LabelSelector>,
        target_ref: Option<TargetRef>,
        target_refs: Vec<TargetRef>,
        tracing: Vec<serde_json::Value>,
        metrics: Vec<serde_json::Value>,
        access_logging: Vec<AccessLogging>,
    }

    AccessLogging {
        r#match: Option<LogSelector>,
        providers: Vec<ProviderRef>,
        disabled: Option<bool>,
        filter: Option<Filter>,
    }

    LogSelector {
        mode: WorkloadMode,
    }

    ProviderRef {
        name: String,
    }

    Filter {
        expression: String,
    }
}

wire_enum!(
    WorkloadMode {
        #[default]
        ClientAndServer = "CLIENT_AND_SERVER" / 0,
        Client = "CLIENT" / 1,
        Server = "SERVER" / 2,
    }
);
