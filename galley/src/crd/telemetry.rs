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
        /// The pods that this is for
        selector: Option<LabelSelector>,
        target_ref: Option<TargetRef>,
        /// The objects that this is for
        target_refs: Vec<TargetRef>,
        /// Traces
        tracing: Vec<serde_json::Value>,
        /// Metrics
        metrics: Vec<serde_json::Value>,
        /// Access logs
        access_logging: Vec<AccessLogging>,
    }

    AccessLogging {
        r#match: Option<LogSelector>,
        /// Where logs go
        providers: Vec<ProviderRef>,
        /// Write none
        disabled: Option<bool>,
        /// Which requests are logged
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
        /// An expression in the Common Expression Language
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
