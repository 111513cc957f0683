//! Several objects where only one per namespace counts: Sidecars (IST0111),
//! Telemetries (IST0160) and PeerAuthentications without selector, and Sidecars
//! that select the same pods (IST0110).

use mesh_api::diagnostic::Severity;

use super::Report;
use super::fact::Roster;
use super::reader::Reader;
use super::selection::Query;
use crate::kinds::Model;
use crate::manifest::path::FieldPath;
use crate::object::Object;

const SAME_PODS: (&str, Severity) = ("IST0110", Severity::Error);

/// Kinds of which one object without selector counts in a namespace.
pub(super) const KINDS: [&str; 3] = ["Sidecar", "Telemetry", "PeerAuthentication"];
const CODES: [(&str, Severity); 3] = [
    ("IST0111", Severity::Error),
    ("IST0160", Severity::Error),
    ("WEFT0101", Severity::Warning),
];

pub(super) fn analyze(object: &Object, reader: &Reader<'_>, report: &mut Report<'_>) {
    let mut kinds = KINDS.into_iter().zip(CODES);
    let Some((kind, code)) = kinds.find(|(kind, _)| *kind == &*object.meta.key.kind) else {
        return;
    };
    if selects(object) {
        same_pods(object, reader, report);
        return;
    }
    let all = reader.roster(Roster::Defaults(kind, object.meta.key.namespace.clone()));
    let others = super::without(all, object.meta.name());
    if others.is_empty() {
        return;
    }
    let message = format!(
        "the namespace has several {kind} objects without selector ({}), and only the oldest counts",
        super::list(&others)
    );
    report.add(code, &FieldPath::ROOT.field("metadata"), message, None);
}

/// True if the object is for some workloads only.
pub(super) fn selects(object: &Object) -> bool {
    match &object.model {
        Model::Sidecar(sidecar) => sidecar.workload_selector.is_some(),
        Model::Telemetry(telemetry) => telemetry.selector.is_some(),
        Model::PeerAuthentication(policy) => policy.selector.is_some(),
        _ => false,
    }
}

fn same_pods(object: &Object, reader: &Reader<'_>, report: &mut Report<'_>) {
    let Some(query) = Query::of(object) else {
        return;
    };
    let others = super::without(reader.same_sidecars(&query), object.meta.name());
    if others.is_empty() {
        return;
    }
    let message = format!("pods are selected by {} as well", super::list(&others));
    let root = FieldPath::ROOT;
    let path = root.field("spec");
    report.add(SAME_PODS, &path.field("workloadSelector"), message, None);
}
