//! `Telemetry`, telemetry.istio.io.
//!
//! `tracing` and `metrics` are kept as plain JSON: they are reported as not
//! supported, and only their presence matters for that.

use std::sync::Arc;

use mesh_api::telemetry::{AccessLogging, Telemetry, WorkloadMode};

use super::definition::Definition;
use super::definition::constraint::one_target;
use super::descriptor::Descriptor;
use super::findings::Findings;
use super::read::Read;
use super::rules::{self, each};
use super::scope::Scope;
use super::wire::{LabelSelector, TargetRef, wire};
use crate::decode::jsonpb::wire_enum;
use crate::manifest::path::FieldPath;

wire! {
    #[schemars(extend("x-kubernetes-validations" = [one_target()]))]
    TelemetrySpec {
        /// Selects the workloads of the namespace that the settings apply to. By default all of the namespace, and
        /// in the root namespace all of the mesh.
        selector: Option<LabelSelector>,
        /// Deprecated: use targetRefs.
        target_ref: Option<TargetRef>,
        /// Objects that the settings are attached to, instead of selector. Not supported yet.
        target_refs: Vec<TargetRef>,
        /// Not supported yet: tracing.
        tracing: Vec<serde_json::Value>,
        /// Not supported yet: changes to the standard metrics.
        metrics: Vec<serde_json::Value>,
        /// Access logs. By default as meshConfig says.
        access_logging: Vec<WireLogging>,
    }

    WireLogging {
        /// Requests that the entry applies to. By default those that the workload sends and receives.
        r#match: Option<LogSelector>,
        /// Where logs are written. Only "envoy" has an effect: the file of meshConfig.accessLogFile, or standard output
        /// if none is set.
        providers: Vec<ProviderRef>,
        /// True to write no access logs.
        disabled: Option<bool>,
        /// Not supported yet: a condition for requests to be logged.
        filter: Option<Filter>,
    }

    LogSelector {
        /// CLIENT for requests that the workload sends, SERVER for those that it receives, CLIENT_AND_SERVER
        /// (default) for both.
        mode: WireMode,
    }

    #[schemars(extend("required" = ["name"]))]
    ProviderRef {
        /// Name of the provider.
        name: String,
    }

    Filter {
        /// An expression in the Common Expression Language (CEL).
        expression: String,
    }
}

wire_enum!(
    WireMode {
        #[default]
        ClientAndServer = "CLIENT_AND_SERVER" / 0,
        Client = "CLIENT" / 1,
        Server = "SERVER" / 2,
    }
);

impl Read for TelemetrySpec {
    const KIND: Descriptor = Descriptor {
        versions: &["v1", "v1alpha1"],
        ..Descriptor::defined(Definition {
            short_names: &["telemetry"],
            ..Definition::new::<Self>(
                "telemetry.istio.io",
                "Telemetry",
                "telemetries",
                // Istio stores this one by its old version.
                &["v1alpha1", "v1"],
            )
        })
    };

    type Model = Arc<Telemetry>;

    fn read(&self, scope: &Scope<'_>, findings: &mut Findings<'_>) -> Option<Arc<Telemetry>> {
        let root = FieldPath::ROOT;
        let path = root.field("spec");
        let selector = rules::attachment(
            self.selector.as_ref(),
            self.target_ref.as_ref(),
            &self.target_refs,
            &path,
            findings,
        );
        if !self.tracing.is_empty() {
            findings.not_supported(&path.field("tracing"));
        }
        if !self.metrics.is_empty() {
            findings.not_supported(&path.field("metrics"));
        }
        let list = path.field("accessLogging");
        let logging = each(&self.access_logging, &list, findings, access_logging);
        Some(Arc::new(Telemetry {
            meta: scope.meta.clone(),
            selector,
            access_logging: logging?,
        }))
    }
}

fn access_logging(
    wire: &WireLogging,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<AccessLogging> {
    let list = path.field("providers");
    let providers = each(
        &wire.providers,
        &list,
        findings,
        |provider, at, findings| {
            if provider.name.is_empty() {
                findings.error(&at.field("name"), "the provider needs a name");
            } else if provider.name != "envoy" {
                let message = "providers other than \"envoy\" are not supported yet: \
                           the entry has no effect";
                findings.without_effect(&at.field("name"), message);
            }
            Some(provider.name.as_str().into())
        },
    );
    if wire.filter.is_some() {
        findings.not_supported(&path.field("filter"));
    }
    let mode = wire.r#match.as_ref().map(|selector| selector.mode);
    Some(AccessLogging {
        mode: match mode.unwrap_or_default() {
            WireMode::ClientAndServer => WorkloadMode::ClientAndServer,
            WireMode::Client => WorkloadMode::Client,
            WireMode::Server => WorkloadMode::Server,
        },
        providers: providers?,
        disabled: wire.disabled,
    })
}
