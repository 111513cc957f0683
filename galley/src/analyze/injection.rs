//! Namespaces with workloads that are not part of the mesh (IST0102).

use mesh_api::diagnostic::Severity;

use super::Report;
use super::fact::Roster;
use super::reader::Reader;
use crate::manifest::path::FieldPath;
use crate::object::Object;

const NOT_INJECTED: (&str, Severity) = ("IST0102", Severity::Info);

/// Namespaces that never are.
const SYSTEM: [&str; 4] = [
    "kube-system",
    "kube-public",
    "kube-node-lease",
    "local-path-storage",
];

pub(super) fn analyze(object: &Object, reader: &Reader<'_>, report: &mut Report<'_>) {
    if &*object.meta.key.kind != "Namespace" {
        return;
    }
    let name = object.meta.name();
    let labels = &object.meta.labels;
    let decided = ["istio-injection", "istio.io/rev", "istio.io/dataplane-mode"];
    let told = decided.iter().any(|label| labels.get(label).is_some());
    let ours = name == reader.root_namespace() || SYSTEM.contains(&name);
    if told || ours || !reader.any(Roster::PodsOf(name.into())) {
        return;
    }
    let message = format!("namespace \"{name}\" is not part of the mesh");
    let advice = "label it istio-injection=enabled, or disabled to keep it out".to_owned();
    let path = FieldPath::ROOT.field("metadata");
    report.add(NOT_INJECTED, &path, message, Some(advice));
}
