//! A pipeline that has seen many changes knows what a fresh one knows of the objects that are left.

mod objects;

use std::collections::BTreeSet;

use mesh_api::resource::{HasMeta, ResourceKey};
use mesh_api::snapshot::{ByNamespace, Map};
use proptest::prelude::*;

use self::objects::{OBJECTS, Slot};
use super::*;
use crate::snapshot::Feedbacks;

/// Objects of which some version is in force.
#[derive(Clone, Default)]
struct InForce(Vec<Option<usize>>);

struct Mesh {
    pipeline: Pipeline,
    snapshot: Arc<Snapshot>,
    findings: Arc<Findings>,
    quarantined: usize,
}

impl Mesh {
    fn new() -> Self {
        Self {
            pipeline: Pipeline::new(Store::new(MeshConfig::default())),
            snapshot: Arc::default(),
            findings: Arc::default(),
            quarantined: 0,
        }
    }

    fn apply(&mut self, delta: Delta) {
        let output = self.pipeline.apply(delta, &[]);
        self.quarantined = output.quarantined;
        assert_eq!(output.objects, self.pipeline.store.objects().count());
        if let Some(snapshot) = output.snapshot {
            assert_eq!(snapshot.version, self.snapshot.version + 1);
            assert_told(&self.snapshot, &snapshot);
            self.snapshot = snapshot;
        }
        self.findings = output.diagnostics;
    }

    fn feedback(&self) -> &Feedbacks {
        self.pipeline.builder.feedback()
    }
}

/// Every entry that differs is named by the changes.
fn assert_told(before: &Snapshot, after: &Snapshot) {
    let changes = &after.changes;
    if changes.full {
        return;
    }
    let told = |key: &ResourceKey| assert!(changes.objects.contains(key), "{key} {changes:?}");
    for key in differing(&before.services, &after.services) {
        let of = [&before.services, &after.services];
        let mut objects = of.into_iter().filter_map(|map| map.get(&key));
        let named = objects.any(|service| changes.objects.contains(&service.meta.key));
        assert!(named, "{key:?} {changes:?}");
    }
    let endpoints = differing(&before.endpoints, &after.endpoints);
    assert!(
        endpoints.is_subset(&changes.endpoints),
        "{endpoints:?} {changes:?}"
    );
    let workloads = differing(&before.workloads, &after.workloads);
    assert_eq!(workloads, changes.workloads);
    for (namespace, name) in differing(&before.credentials, &after.credentials) {
        told(&ResourceKey::new("Secret", &namespace, &name));
    }
    for name in differing(&before.namespaces, &after.namespaces) {
        told(&ResourceKey::new("Namespace", "", &name));
    }
    macro_rules! told {
        ($($field:ident,)*) => {$(
            objects(&before.$field, &after.$field).iter().for_each(told);
        )*};
    }
    told! {
        virtual_services,
        destination_rules,
        gateways,
        sidecars,
        peer_authentications,
        request_authentications,
        authorization_policies,
        telemetries,
    }
}

fn differing<K: Ord + Clone, V: PartialEq>(before: &Map<K, V>, after: &Map<K, V>) -> BTreeSet<K> {
    let keys = before.keys().chain(after.keys());
    let differing = keys.filter(|key| before.get(*key) != after.get(*key));
    differing.cloned().collect()
}

fn objects<T: HasMeta + PartialEq>(
    before: &ByNamespace<T>,
    after: &ByNamespace<T>,
) -> BTreeSet<ResourceKey> {
    let all = before.values().chain(after.values()).flatten();
    let keys = all.map(|object| object.meta().key.clone());
    keys.filter(|key| {
        let of = |all: &ByNamespace<T>| all.object(&key.namespace, &key.name).cloned();
        of(before) != of(after)
    })
    .collect()
}

fn assert_same(one: &Mesh, other: &Mesh) {
    macro_rules! same {
        ($($field:ident,)*) => {$(
            assert_eq!(one.snapshot.$field, other.snapshot.$field);
        )*};
    }
    same! {
        mesh,
        services,
        endpoints,
        workloads,
        virtual_services,
        destination_rules,
        gateways,
        sidecars,
        peer_authentications,
        request_authentications,
        authorization_policies,
        telemetries,
        namespaces,
        credentials,
        secret_readers,
    }
    let lines =
        |mesh: &Mesh| -> Vec<String> { mesh.findings.iter().map(ToString::to_string).collect() };
    assert_eq!(lines(one), lines(other));
    assert_eq!(one.feedback(), other.feedback());
    assert_eq!(one.quarantined, other.quarantined);
}

impl InForce {
    /// Sets versions of objects, or removes them.
    fn change(&mut self, changes: &[(usize, Option<usize>)]) -> Delta {
        self.0.resize(OBJECTS.len(), None);
        let mut delta = Delta::default();
        for (index, version) in changes {
            let slot: &Slot = &OBJECTS[*index];
            let version = version.map(|version| version % slot.versions.len());
            self.0[*index] = version;
        }
        let touched: BTreeSet<usize> = changes.iter().map(|(index, _)| *index).collect();
        for index in touched {
            let slot = &OBJECTS[index];
            match self.0[index] {
                Some(version) => delta.applied.push(slot.versions[version].clone()),
                None => delta.deleted.push(DocumentKey::of(&slot.versions[0])),
            }
        }
        delta
    }

    fn all(&self) -> Delta {
        let objects = self.0.iter().zip(OBJECTS.iter());
        let documents =
            objects.filter_map(|(version, slot)| Some(slot.versions[(*version)?].clone()));
        Delta {
            applied: documents.collect(),
            deleted: Vec::new(),
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<Vec<(usize, Option<usize>)>>> {
    let version = prop_oneof![3 => (0..8_usize).prop_map(Some), 1 => Just(None)];
    let change = (0..OBJECTS.len(), version);
    let step = prop_oneof![
        4 => prop::collection::vec(change.clone(), 1..3),
        1 => prop::collection::vec(change, 10..40),
    ];
    prop::collection::vec(step, 1..25)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn changes_lead_to_what_a_fresh_start_finds(steps in steps()) {
        let mut in_force = InForce::default();
        let mut changed = Mesh::new();
        for step in &steps {
            changed.apply(in_force.change(step));
        }
        let mut fresh = Mesh::new();
        fresh.apply(in_force.all());
        assert_same(&changed, &fresh);
        let everything: Vec<_> = (0..OBJECTS.len()).map(|index| (index, None)).collect();
        changed.apply(in_force.change(&everything));
        let mut empty = Mesh::new();
        empty.apply(Delta::default());
        assert_same(&changed, &empty);
    }
}

#[test]
fn no_version_of_the_objects_leaves_the_one_before_in_force() {
    let mut refused = Vec::new();
    for slot in OBJECTS.iter() {
        for version in &slot.versions {
            assert_eq!(DocumentKey::of(version), DocumentKey::of(&slot.versions[0]));
            let mut store = Store::new(MeshConfig::default());
            // One that is refused is always stood in for, whatever was there before.
            let stood_in_for = version.kind() == "RequestAuthentication";
            if !store.apply(version.clone()) && !stood_in_for {
                refused.extend(store.diagnostics().iter().map(ToString::to_string));
            }
        }
    }
    assert_eq!(refused, Vec::<String>::new());
}
