//! Namespaces with workloads that are not part of the mesh (IST0102).

use std::collections::BTreeSet;

use mesh_api::diagnostic::Severity;

use super::Report;
use crate::manifest::path::FieldPath;
use crate::store::Store;

const NOT_INJECTED: (&str, Severity) = ("IST0102", Severity::Info);

/// Namespaces that never are.
const SYSTEM: [&str; 4] = [
    "kube-system",
    "kube-public",
    "kube-node-lease",
    "local-path-storage",
];

pub(super) fn analyze(store: &Store, report: &mut Report) {
    let with_pods: BTreeSet<&str> = store
        .of_kind("Pod")
        .map(|pod| pod.meta.namespace())
        .collect();
    for object in store.of_kind("Namespace") {
        let name = object.meta.name();
        let labels = &object.meta.labels;
        let decided = ["istio-injection", "istio.io/rev", "istio.io/dataplane-mode"];
        let told = decided.iter().any(|label| labels.get(label).is_some());
        let ours = name == &*store.mesh().root_namespace || SYSTEM.contains(&name);
        if told || ours || !with_pods.contains(name) {
            continue;
        }
        let message = format!("namespace \"{name}\" is not part of the mesh");
        let advice = "label it istio-injection=enabled, or disabled to keep it out".to_owned();
        report.add(
            object,
            NOT_INJECTED,
            &FieldPath::ROOT.field("metadata"),
            message,
            Some(advice),
        );
    }
}
