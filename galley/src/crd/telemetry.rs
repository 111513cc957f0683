//! `Telemetry`, telemetry.istio.io.
//!
//! `tracing` and `metrics` are kept as plain JSON: they are reported as not
//! supported, and only their presence matters for that.

use super::definition::constraint::one_target;
use super::{LabelSelector, TargetRef, wire};
use crate::decode::jsonpb::wire_enum;

wire! {
    #[schemars(extend("x-kubernetes-validations" = [one_target()]))]
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

    #[schemars(extend("required" = ["name"]))]
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
