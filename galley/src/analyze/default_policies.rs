//! Several objects where only one per namespace counts: Sidecars (IST0111),
//! Telemetries (IST0160) and PeerAuthentications without selector, and Sidecars
//! that select the same pods (IST0110).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mesh_api::diagnostic::Severity;

use super::Report;
use crate::manifest::path::FieldPath;
use crate::normalize::Model;
use crate::object::Object;
use crate::store::Store;

const SIDECARS: (&str, Severity) = ("IST0111", Severity::Error);
const SAME_PODS: (&str, Severity) = ("IST0110", Severity::Error);
const TELEMETRIES: (&str, Severity) = ("IST0160", Severity::Error);
const PEER_AUTHENTICATIONS: (&str, Severity) = ("WEFT0101", Severity::Warning);

pub(super) fn analyze(store: &Store, report: &mut Report) {
    for (kind, code) in [
        ("Sidecar", SIDECARS),
        ("Telemetry", TELEMETRIES),
        ("PeerAuthentication", PEER_AUTHENTICATIONS),
    ] {
        let mut defaults: BTreeMap<&str, Vec<&Arc<Object>>> = BTreeMap::new();
        for object in store.of_kind(kind).filter(|object| !selects(object)) {
            defaults
                .entry(object.meta.namespace())
                .or_default()
                .push(object);
        }
        for objects in defaults.values().filter(|objects| objects.len() > 1) {
            for object in objects {
                several(object, objects, code, report);
            }
        }
    }
    same_pods(store, report);
}

fn several(
    object: &Object,
    objects: &[&Arc<Object>],
    code: (&'static str, Severity),
    report: &mut Report,
) {
    let others: BTreeSet<String> = objects
        .iter()
        .filter(|other| other.meta.key != object.meta.key)
        .map(|other| other.meta.name().to_owned())
        .collect();
    let message = format!(
        "the namespace has several {} objects without selector ({}), and only the oldest counts",
        object.meta.key.kind,
        super::list(&others)
    );
    report.add(
        object,
        code,
        &FieldPath::ROOT.field("metadata"),
        message,
        None,
    );
}

fn selects(object: &Object) -> bool {
    match &object.model {
        Model::Sidecar(sidecar) => sidecar.workload_selector.is_some(),
        Model::Telemetry(telemetry) => telemetry.selector.is_some(),
        Model::PeerAuthentication(policy) => policy.selector.is_some(),
        _ => false,
    }
}

fn same_pods(store: &Store, report: &mut Report) {
    let sidecars: Vec<&Arc<Object>> = store.of_kind("Sidecar").filter(|o| selects(o)).collect();
    if sidecars.len() < 2 {
        return;
    }
    let mut meeting: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
    for pod in store.of_kind("Pod") {
        let of_pod: Vec<usize> = sidecars
            .iter()
            .enumerate()
            .filter(|(_, object)| selects_pod(object, pod))
            .map(|(index, _)| index)
            .collect();
        for index in of_pod.iter().filter(|_| of_pod.len() > 1) {
            let others = of_pod.iter().filter(|other| *other != index);
            let names = others.map(|other| sidecars[*other].meta.name().to_owned());
            meeting.entry(*index).or_default().extend(names);
        }
    }
    for (index, others) in meeting {
        let message = format!("pods are selected by {} as well", super::list(&others));
        let root = FieldPath::ROOT;
        let path = root.field("spec");
        report.add(
            sidecars[index],
            SAME_PODS,
            &path.field("workloadSelector"),
            message,
            None,
        );
    }
}

fn selects_pod(sidecar: &Object, pod: &Object) -> bool {
    let Model::Sidecar(model) = &sidecar.model else {
        return false;
    };
    sidecar.meta.namespace() == pod.meta.namespace()
        && model
            .workload_selector
            .as_ref()
            .is_some_and(|s| s.matches(&pod.meta.labels))
}
