//! Several VirtualServices for one host on sidecars: only the oldest counts
//! (IST0109).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mesh_api::diagnostic::Severity;
use mesh_api::resource::Visibility;

use super::Report;
use crate::manifest::path::FieldPath;
use crate::normalize::Model;
use crate::object::Object;
use crate::store::Store;

const CONFLICT: (&str, Severity) = ("IST0109", Severity::Error);

pub(super) fn analyze(store: &Store, report: &mut Report) {
    let mut by_host: BTreeMap<String, Vec<(usize, &Arc<Object>)>> = BTreeMap::new();
    for object in store.of_kind("VirtualService") {
        let Model::VirtualService(rule) = &object.model else {
            continue;
        };
        if !rule.applies_to_mesh() {
            continue;
        }
        for (index, host) in rule.hosts.iter().enumerate() {
            by_host
                .entry(host.to_string())
                .or_default()
                .push((index, object));
        }
    }
    for (host, objects) in &by_host {
        for (index, object) in objects {
            let others: BTreeSet<String> = objects
                .iter()
                .filter(|(_, other)| !Arc::ptr_eq(object, other) && meet(object, other))
                .map(|(_, other)| format!("{}/{}", other.meta.namespace(), other.meta.name()))
                .collect();
            if others.is_empty() {
                continue;
            }
            let root = FieldPath::ROOT;
            let path = root.field("spec");
            let hosts = path.field("hosts");
            let message = format!(
                "host \"{host}\" has rules in {} as well, and sidecars use only the oldest of them",
                super::list(&others)
            );
            let suggestion = "merge the rules into one virtual service".to_owned();
            report.add(
                object,
                CONFLICT,
                &hosts.index(*index),
                message,
                Some(suggestion),
            );
        }
    }
}

/// True if some namespace sees both.
fn meet(a: &Object, b: &Object) -> bool {
    let (Model::VirtualService(first), Model::VirtualService(second)) = (&a.model, &b.model) else {
        return false;
    };
    match (&first.visibility, &second.visibility) {
        (Visibility::None, _) | (_, Visibility::None) => false,
        (Visibility::Public, _) | (_, Visibility::Public) => true,
        (Visibility::Namespaces(a), Visibility::Namespaces(b)) => !a.is_disjoint(b),
    }
}
