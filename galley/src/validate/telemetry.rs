//! Rules of `Telemetry`.

use super::{Findings, rules};
use crate::crd::telemetry::Telemetry;
use crate::manifest::path::FieldPath;

pub(super) fn validate(spec: &Telemetry, path: &FieldPath<'_>, findings: &mut Findings<'_>) {
    let refs = &spec.target_refs;
    rules::attachment(
        spec.selector.as_ref(),
        spec.target_ref.as_ref(),
        refs,
        path,
        findings,
    );
    if !spec.tracing.is_empty() {
        findings.not_supported(&path.field("tracing"));
    }
    if !spec.metrics.is_empty() {
        findings.not_supported(&path.field("metrics"));
    }
    for (index, logging) in spec.access_logging.iter().enumerate() {
        let list = path.field("accessLogging");
        let at = list.index(index);
        for (index, provider) in logging.providers.iter().enumerate() {
            if provider.name.is_empty() {
                let providers = at.field("providers");
                findings.error(
                    &providers.index(index).field("name"),
                    "the provider needs a name",
                );
            } else if provider.name != "envoy" {
                let providers = at.field("providers");
                let message = "providers other than \"envoy\" are not supported yet: \
                               the entry has no effect";
                findings.without_effect(&providers.index(index).field("name"), message);
            }
        }
        if logging.filter.is_some() {
            findings.not_supported(&at.field("filter"));
        }
    }
}
