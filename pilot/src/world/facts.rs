//! What is known of the whole mesh beside its objects, kept from world to world.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use mesh_api::labels::Labels;
use mesh_api::service::Service;
use mesh_api::snapshot::Snapshot;

use super::delta::{Changed, Delta};
use crate::cache::Work;
use crate::eds::MtlsDisabled;
use crate::policy;
use crate::scope::{
    Relevant, labels_of_destination_rule, labels_of_others, labels_of_virtual_service,
};

/// The facts of one world.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// How often rules select clients by a label.
    label_uses: Arc<BTreeMap<String, usize>>,
    others: Arc<BTreeSet<String>>,
    /// The same as long as it is equal.
    pub(super) relevant: Arc<Relevant>,
    /// Workloads that refuse mesh TLS.
    pub(super) mtls_disabled: Arc<Vec<MtlsDisabled>>,
    selecting: Arc<SelectingServices>,
}

/// Services with selectors by namespace and one of the labels that they select by. Each proxy looks for its own.
type SelectingServices = HashMap<Arc<str>, HashMap<(String, String), Vec<Arc<Service>>>>;

impl Facts {
    pub(super) fn new(snapshot: &Snapshot, work: &Work) -> Self {
        let mut label_uses = BTreeMap::new();
        for object in snapshot.virtual_services.values().flatten() {
            work.visit(1);
            count(&mut label_uses, labels_of_virtual_service(object), 1);
        }
        for rule in snapshot.destination_rules.values().flatten() {
            work.visit(1);
            count(&mut label_uses, labels_of_destination_rule(rule), 1);
        }
        work.visit(snapshot.services.len());
        let mut facts = Self {
            label_uses: Arc::new(label_uses),
            others: Arc::new(labels_of_others(snapshot)),
            relevant: Arc::new(Relevant {
                labels: BTreeSet::new(),
                machines: snapshot.services.values().any(|service| service.node_local),
            }),
            mtls_disabled: Arc::new(policy::mtls_disabled(snapshot)),
            selecting: Arc::new(selecting_services(snapshot)),
        };
        facts.select();
        facts
    }

    /// The facts after a change that is not of everything.
    pub(super) fn next(&self, delta: &Delta, work: &Work) -> Self {
        let mut next = self.clone();
        if delta.virtual_services.is_empty() && delta.destination_rules.is_empty() {
            return next;
        }
        let uses = Arc::make_mut(&mut next.label_uses);
        for Changed { before, after } in &delta.virtual_services {
            work.visit(1);
            let labels = |object| labels_of_virtual_service(object);
            before
                .iter()
                .for_each(|object| count(uses, labels(object), -1));
            after
                .iter()
                .for_each(|object| count(uses, labels(object), 1));
        }
        for Changed { before, after } in &delta.destination_rules {
            work.visit(1);
            let labels = |rule| labels_of_destination_rule(rule);
            before.iter().for_each(|rule| count(uses, labels(rule), -1));
            after.iter().for_each(|rule| count(uses, labels(rule), 1));
        }
        next.select();
        next
    }

    fn select(&mut self) {
        let selected = self.label_uses.keys().chain(self.others.iter());
        let labels: BTreeSet<_> = selected.cloned().collect();
        if labels != self.relevant.labels {
            let machines = self.relevant.machines;
            self.relevant = Arc::new(Relevant { labels, machines });
        }
    }

    /// The services whose selectors match labels, oldest first.
    pub(super) fn selecting(
        &self,
        namespace: &str,
        labels: &Labels,
        work: &Work,
    ) -> Vec<&Arc<Service>> {
        let of_namespace = self.selecting.get(namespace);
        let by_label = labels
            .iter()
            .filter_map(|(key, value)| of_namespace?.get(&(key.to_owned(), value.to_owned())));
        let mut services: Vec<_> = by_label.flatten().collect();
        work.visit(services.len());
        services.retain(|service| {
            let selector = service.selector.as_ref();
            selector.is_some_and(|selector| selector.matches(labels))
        });
        services.sort_by(|a, b| a.meta.age_order().cmp(&b.meta.age_order()));
        services
    }
}

fn count(uses: &mut BTreeMap<String, usize>, labels: Vec<&str>, by: isize) {
    for label in labels {
        let count = uses.entry(label.to_owned()).or_default();
        *count = count.saturating_add_signed(by);
        if *count == 0 {
            uses.remove(label);
        }
    }
}

/// A selector without labels selects nothing: such a Service has its endpoints given.
fn selecting_services(snapshot: &Snapshot) -> SelectingServices {
    let mut services = SelectingServices::new();
    for service in snapshot.services.values() {
        let selector = service.selector.as_ref();
        let first = selector.and_then(|selector| selector.labels().iter().next());
        if let Some((key, value)) = first {
            let namespace = Arc::clone(&service.meta.key.namespace);
            let of_namespace = services.entry(namespace).or_default();
            let of_label = of_namespace.entry((key.to_owned(), value.to_owned()));
            of_label.or_default().push(Arc::clone(service));
        }
    }
    services
}
