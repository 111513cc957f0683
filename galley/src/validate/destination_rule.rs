//! Rules of `DestinationRule`. Source: Istio `validation.ValidateDestinationRule`.

use std::collections::BTreeSet;

use mesh_api::resource::Meta;

use super::{Findings, rules, traffic_policy};
use crate::crd::destination_rule::{DestinationRule, Subset};
use crate::manifest::path::FieldPath;

pub(super) fn validate(
    spec: &DestinationRule,
    meta: &Meta,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) {
    let host = path.field("host");
    if spec.host.is_empty() {
        findings
            .error(&host, "the host is required")
            .suggest("name the service that the rule is for");
    } else {
        rules::host(&spec.host, &host, findings);
    }
    if let Some(policy) = &spec.traffic_policy {
        traffic_policy::validate(policy, &path.field("trafficPolicy"), findings);
    }
    subsets(&spec.subsets, &path.field("subsets"), findings);
    rules::export_to(&spec.export_to, meta, &path.field("exportTo"), findings);
    if let Some(selector) = &spec.workload_selector {
        workload_selector(spec, meta, path, findings);
        let at = path.field("workloadSelector");
        rules::labels(&selector.labels, &at.field("labels"), findings);
        if selector.labels.is_empty() {
            findings.warn(&at, "the selector has no labels and selects every client");
        }
    }
}

fn subsets(subsets: &[Subset], path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    let mut seen = BTreeSet::new();
    for (index, subset) in subsets.iter().enumerate() {
        let at = path.index(index);
        let name = at.field("name");
        if subset.name.is_empty() {
            findings.error(&name, "a subset needs a name");
        } else if !rules::is_dns_label(&subset.name) {
            findings.error(
                &name,
                format!("\"{}\" is not a legal subset name", subset.name),
            );
        } else if !seen.insert(&subset.name) {
            findings
                .error(&name, format!("duplicate subset \"{}\"", subset.name))
                .suggest("subset names must be unique within the rule");
        }
        rules::labels(&subset.labels, &at.field("labels"), findings);
        if let Some(policy) = &subset.traffic_policy {
            traffic_policy::validate(policy, &at.field("trafficPolicy"), findings);
        }
    }
}

/// A rule for chosen clients stays in their namespace.
fn workload_selector(
    spec: &DestinationRule,
    meta: &Meta,
    path: &FieldPath<'_>,
    findings: &mut Findings<'_>,
) {
    let leaves = |namespace: &String| namespace != "." && namespace != meta.namespace();
    if spec.export_to.iter().any(leaves) {
        findings
            .error(
                &path.field("exportTo"),
                "a rule with workloadSelector applies in its own namespace only",
            )
            .suggest("leave exportTo out, or write exportTo: [\".\"]");
    }
}
