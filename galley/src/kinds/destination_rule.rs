//! `DestinationRule`, networking.istio.io. Source: Istio `validation.ValidateDestinationRule`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mesh_api::hostname::Hostname;
use mesh_api::labels::Selector;
use mesh_api::traffic_policy::{DestinationRule, Subset};

use super::definition::{Column, Definition};
use super::descriptor::Descriptor;
use super::findings::Findings;
use super::read::Read;
use super::rules::{self, each};
use super::scope::Scope;
use super::traffic_policy::{self, WirePolicy};
use super::wire::{WorkloadSelector, wire};
use crate::manifest::path::FieldPath;

wire! {
    #[schemars(extend("required" = ["host"]))]
    DestinationRuleSpec {
        /// Name of the service that the rule applies to. A short name is one of the rule's own namespace; "*." at
        /// the beginning stands for any service with that ending.
        host: String,
        /// How clients connect to the service.
        traffic_policy: Option<WirePolicy>,
        /// Named subsets of the endpoints, for routes.
        subsets: Vec<WireSubset>,
        /// Namespaces whose clients the rule applies to: "." is its own, "*" is all, "~" is none. By default
        /// meshConfig.defaultDestinationRuleExportTo.
        export_to: Vec<String>,
        /// Selects the client workloads that the rule applies to, in the rule's namespace. By default all.
        workload_selector: Option<WorkloadSelector>,
    }

    #[schemars(extend("required" = ["name"]))]
    WireSubset {
        /// Name of the subset, unique in the rule.
        name: String,
        /// Labels that an endpoint of the subset has, all of them.
        labels: BTreeMap<String, String>,
        /// How clients connect to the subset. Each part (loadBalancer, tls, ...) replaces that of the whole rule.
        traffic_policy: Option<WirePolicy>,
    }
}

impl Read for DestinationRuleSpec {
    const KIND: Descriptor = Descriptor::defined(Definition {
        short_names: &["dr"],
        columns: &[
            Column::text("Host", ".spec.host", "The service that the rule is for"),
            Column::AGE,
        ],
        ..Definition::networking::<Self>("DestinationRule", "destinationrules")
    });

    type Model = Arc<DestinationRule>;

    fn read(&self, scope: &Scope<'_>, findings: &mut Findings<'_>) -> Option<Arc<DestinationRule>> {
        let root = FieldPath::ROOT;
        let path = root.field("spec");
        let host = host(&self.host, &path.field("host"), scope, findings);
        let policy = match &self.traffic_policy {
            Some(wire) => traffic_policy::read(wire, &path.field("trafficPolicy"), findings),
            None => Some(Default::default()),
        };
        let subsets = subsets(&self.subsets, &path.field("subsets"), findings);
        let export_to = path.field("exportTo");
        rules::export_to(&self.export_to, scope.meta, &export_to, findings);
        let workload_selector = workload_selector(self, &path, scope, findings);
        let default = &scope.mesh.default_destination_rule_export_to;
        Some(Arc::new(DestinationRule {
            meta: scope.meta.clone(),
            host: host?,
            policy: policy?,
            subsets: subsets?,
            visibility: scope.visibility(&self.export_to, default),
            workload_selector,
        }))
    }

    #[cfg(any(test, feature = "test-util"))]
    fn sample() -> serde_json::Value {
        serde_json::json!({
            "host": "a",
            "subsets": [{"name": "v1", "labels": {"version": "v1"}}],
        })
    }
}

fn host(
    text: &str,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
    findings: &mut Findings<'_>,
) -> Option<Hostname> {
    if text.is_empty() {
        findings
            .error(path, "the host is required")
            .suggest("name the service that the rule is for");
        return None;
    }
    scope.host(text, path, findings)
}

fn subsets(
    subsets: &[WireSubset],
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) -> Option<Vec<Subset>> {
    let mut seen = BTreeSet::new();
    each(subsets, path, findings, |wire, at, findings| {
        let name = at.field("name");
        if wire.name.is_empty() {
            findings.error(&name, "a subset needs a name");
        } else if !rules::is_dns_label(&wire.name) {
            let message = format!("\"{}\" is not a legal subset name", wire.name);
            findings.error(&name, message);
        } else if !seen.insert(&wire.name) {
            findings
                .error(&name, format!("duplicate subset \"{}\"", wire.name))
                .suggest("subset names must be unique within the rule");
        }
        let labels = rules::labels(&wire.labels, &at.field("labels"), findings);
        let policy = match &wire.traffic_policy {
            Some(wire) => traffic_policy::read(wire, &at.field("trafficPolicy"), findings)?,
            None => Default::default(),
        };
        Some(Subset {
            name: wire.name.as_str().into(),
            labels,
            policy,
        })
    })
}

/// A rule for chosen clients stays in their namespace.
fn workload_selector(
    spec: &DestinationRuleSpec,
    path: &FieldPath<'_>,
    scope: &Scope<'_>,
    findings: &mut Findings<'_>,
) -> Option<Selector> {
    let selector = spec.workload_selector.as_ref()?;
    let own = scope.meta.namespace();
    let leaves = |namespace: &String| namespace != "." && namespace != own;
    if spec.export_to.iter().any(leaves) {
        findings
            .error(
                &path.field("exportTo"),
                "a rule with workloadSelector applies in its own namespace only",
            )
            .suggest("leave exportTo out, or write exportTo: [\".\"]");
    }
    let at = path.field("workloadSelector");
    let labels = rules::labels(&selector.labels, &at.field("labels"), findings);
    if labels.is_empty() {
        findings.warn(&at, "the selector has no labels and selects every client");
        return None;
    }
    Some(Selector::new(labels))
}
