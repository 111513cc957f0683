//! Which pods are selected by Gateways and Sidecars. Pods with equal labels count as one, and so do objects with equal
//! selectors, so that thousands of Sidecars that select one pod cost no more than thousands that select none.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use mesh_api::labels::Labels;
use mesh_api::resource::ResourceKey;

use super::fact::{Fact, Touched, first_of};
use crate::kinds::Model;
use crate::object::Object;

/// A selector of pods: a Sidecar's of its namespace, or a Gateway's of all.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Query {
    namespace: Option<Arc<str>>,
    labels: Labels,
}

/// Pods of a namespace with the same labels.
type ClassKey = (Arc<str>, Labels);

type Label = (String, String);

#[derive(Debug, Default)]
struct Class {
    pods: usize,
    queries: BTreeSet<Query>,
    /// The first Sidecars that select it.
    sidecars: Vec<Arc<str>>,
}

#[derive(Debug, Default)]
struct Members {
    /// Names of the objects with this selector.
    users: BTreeMap<Arc<str>, u32>,
    classes: BTreeSet<ClassKey>,
    answer: Answer,
}

/// What analyzers ask.
#[derive(Debug, Clone, Default, PartialEq)]
struct Answer {
    namespaces: BTreeSet<Arc<str>>,
    /// The Sidecars that select the same pod, of the pod that most of them select.
    sidecars: Vec<Arc<str>>,
}

/// All pods and all selectors.
#[derive(Debug, Default)]
pub(super) struct Selections {
    classes: BTreeMap<ClassKey, Class>,
    classes_by_label: HashMap<Label, BTreeSet<ClassKey>>,
    queries: BTreeMap<Query, Members>,
    /// Each query under one of its labels.
    queries_by_label: HashMap<Option<Label>, BTreeSet<Query>>,
    /// To be looked at again.
    stale_classes: BTreeSet<ClassKey>,
    stale_queries: BTreeSet<Query>,
}

impl Query {
    /// The selector of a Sidecar or a Gateway.
    pub(super) fn of(object: &Object) -> Option<Self> {
        match &object.model {
            Model::Sidecar(sidecar) => Some(Self {
                namespace: Some(object.meta.key.namespace.clone()),
                labels: sidecar.workload_selector.as_ref()?.labels().clone(),
            }),
            Model::Gateway(gateway) => Some(Self {
                namespace: None,
                labels: gateway.selector.labels().clone(),
            }),
            _ => None,
        }
    }

    /// The fact that says what it selects.
    pub(super) fn fact(&self) -> Fact {
        match &self.namespace {
            Some(namespace) => Fact::SameSidecars(namespace.clone(), self.labels.clone()),
            None => Fact::SelectedNamespaces(self.labels.clone()),
        }
    }

    fn selects(&self, (namespace, labels): &ClassKey) -> bool {
        let here = self.namespace.as_ref().is_none_or(|own| own == namespace);
        here && self
            .labels
            .iter()
            .all(|(name, value)| labels.get(name) == Some(value))
    }

    fn label(&self) -> Option<Label> {
        self.labels.iter().next().map(owned)
    }
}

fn owned((name, value): (&str, &str)) -> Label {
    (name.to_owned(), value.to_owned())
}

impl Selections {
    /// Namespaces of the pods that a query selects.
    pub(super) fn namespaces(&self, query: &Query) -> BTreeSet<Arc<str>> {
        let members = self.queries.get(query);
        members
            .map(|members| members.answer.namespaces.clone())
            .unwrap_or_default()
    }

    /// The first Sidecars that select the same pod as those of a query, themselves among them.
    pub(super) fn sidecars(&self, query: &Query) -> Vec<Arc<str>> {
        let members = self.queries.get(query);
        members
            .map(|members| members.answer.sidecars.clone())
            .unwrap_or_default()
    }

    /// A pod has other labels, or is new or gone.
    pub(super) fn change_pod(
        &mut self,
        namespace: &Arc<str>,
        before: Option<Labels>,
        after: Option<Labels>,
    ) {
        if let Some(labels) = before {
            self.remove_pod((namespace.clone(), labels));
        }
        if let Some(labels) = after {
            self.add_pod((namespace.clone(), labels));
        }
    }

    /// An object has another selector, or is new or gone.
    pub(super) fn change_query(
        &mut self,
        object: &ResourceKey,
        before: Option<Query>,
        after: Option<Query>,
        touched: &mut Vec<Touched>,
    ) {
        if let Some(query) = before {
            self.remove_user(&query, &object.name, touched);
        }
        if let Some(query) = after {
            self.add_user(query, &object.name);
        }
    }

    /// Answers the queries again whose pods or users changed.
    pub(super) fn settle(&mut self, touched: &mut Vec<Touched>) {
        for key in std::mem::take(&mut self.stale_classes) {
            let Some(class) = self.classes.get(&key) else {
                continue;
            };
            let sidecars = self.sidecars_of(class);
            if class.sidecars != sidecars {
                let of_sidecars = class
                    .queries
                    .iter()
                    .filter(|query| query.namespace.is_some());
                self.stale_queries.extend(of_sidecars.cloned());
                if let Some(class) = self.classes.get_mut(&key) {
                    class.sidecars = sidecars;
                }
            }
        }
        for query in std::mem::take(&mut self.stale_queries) {
            let Some(members) = self.queries.get(&query) else {
                continue;
            };
            let answer = self.answer(&query, members);
            if members.answer != answer {
                touched.push(Touched::One(query.fact()));
                if let Some(members) = self.queries.get_mut(&query) {
                    members.answer = answer;
                }
            }
        }
    }

    fn sidecars_of(&self, class: &Class) -> Vec<Arc<str>> {
        let queries = class
            .queries
            .iter()
            .filter(|query| query.namespace.is_some());
        let members = queries.filter_map(|query| self.queries.get(query));
        let mut first: BTreeSet<&Arc<str>> = BTreeSet::new();
        for members in members {
            first.extend(members.users.keys().take(FIRST_MAX));
            while first.len() > FIRST_MAX {
                first.pop_last();
            }
        }
        first.into_iter().cloned().collect()
    }

    fn answer(&self, query: &Query, members: &Members) -> Answer {
        if query.namespace.is_none() {
            let namespaces = members
                .classes
                .iter()
                .map(|(namespace, _)| namespace.clone());
            return Answer {
                namespaces: namespaces.collect(),
                sidecars: Vec::new(),
            };
        }
        let classes = members
            .classes
            .iter()
            .filter_map(|key| self.classes.get(key));
        let contested = classes.map(|class| &class.sidecars);
        let most = contested.min_by_key(|sidecars| (std::cmp::Reverse(sidecars.len()), *sidecars));
        Answer {
            namespaces: BTreeSet::new(),
            sidecars: first_of(most.cloned()),
        }
    }

    fn add_pod(&mut self, key: ClassKey) {
        if let Some(class) = self.classes.get_mut(&key) {
            class.pods += 1;
            return;
        }
        let labels = key.1.iter().map(|label| Some(owned(label)));
        let candidates = labels.chain([None]);
        let queries: BTreeSet<Query> = candidates
            .filter_map(|label| self.queries_by_label.get(&label))
            .flatten()
            .filter(|query| query.selects(&key))
            .cloned()
            .collect();
        for query in &queries {
            if let Some(members) = self.queries.get_mut(query) {
                members.classes.insert(key.clone());
            }
            self.stale_queries.insert(query.clone());
        }
        for label in key.1.iter() {
            let classes = self.classes_by_label.entry(owned(label)).or_default();
            classes.insert(key.clone());
        }
        self.stale_classes.insert(key.clone());
        let class = Class {
            pods: 1,
            queries,
            sidecars: Vec::new(),
        };
        self.classes.insert(key, class);
    }

    fn remove_pod(&mut self, key: ClassKey) {
        let Some(class) = self.classes.get_mut(&key) else {
            return;
        };
        class.pods -= 1;
        if class.pods > 0 {
            return;
        }
        let class = self.classes.remove(&key).unwrap_or_default();
        for query in class.queries {
            if let Some(members) = self.queries.get_mut(&query) {
                members.classes.remove(&key);
            }
            self.stale_queries.insert(query);
        }
        for label in key.1.iter() {
            remove(&mut self.classes_by_label, &owned(label), &key);
        }
    }

    fn add_user(&mut self, query: Query, name: &Arc<str>) {
        if !self.queries.contains_key(&query) {
            let classes = self.selected(&query);
            for key in &classes {
                if let Some(class) = self.classes.get_mut(key) {
                    class.queries.insert(query.clone());
                }
            }
            let same_label = self.queries_by_label.entry(query.label()).or_default();
            same_label.insert(query.clone());
            let members = Members {
                classes,
                ..Members::default()
            };
            self.queries.insert(query.clone(), members);
            self.stale_queries.insert(query.clone());
        }
        if let Some(members) = self.queries.get_mut(&query) {
            *members.users.entry(name.clone()).or_default() += 1;
            self.stale_classes.extend(members.classes.iter().cloned());
        }
    }

    fn remove_user(&mut self, query: &Query, name: &Arc<str>, touched: &mut Vec<Touched>) {
        let Some(members) = self.queries.get_mut(query) else {
            return;
        };
        self.stale_classes.extend(members.classes.iter().cloned());
        if let Some(count) = members.users.get_mut(name) {
            *count -= 1;
            if *count == 0 {
                members.users.remove(name);
            }
        }
        if !members.users.is_empty() {
            return;
        }
        let members = self.queries.remove(query).unwrap_or_default();
        for key in members.classes {
            if let Some(class) = self.classes.get_mut(&key) {
                class.queries.remove(query);
            }
        }
        remove(&mut self.queries_by_label, &query.label(), query);
        touched.push(Touched::One(query.fact()));
    }

    /// The pods that a query selects, found through the rarest of its labels.
    fn selected(&self, query: &Query) -> BTreeSet<ClassKey> {
        let by_label = query
            .labels
            .iter()
            .map(|label| self.classes_by_label.get(&owned(label)));
        let by_label: Option<Vec<&BTreeSet<ClassKey>>> = by_label.collect();
        let Some(by_label) = by_label else {
            return BTreeSet::new();
        };
        match by_label.into_iter().min_by_key(|classes| classes.len()) {
            Some(rarest) => rarest
                .iter()
                .filter(|key| query.selects(key))
                .cloned()
                .collect(),
            None => self
                .classes
                .keys()
                .filter(|key| query.selects(key))
                .cloned()
                .collect(),
        }
    }
}

/// As many as [`first_of`] keeps.
const FIRST_MAX: usize = super::fact::KEPT_MAX;

fn remove<K: std::hash::Hash + Eq, V: Ord>(map: &mut HashMap<K, BTreeSet<V>>, key: &K, value: &V) {
    if let Some(values) = map.get_mut(key) {
        values.remove(value);
        if values.is_empty() {
            map.remove(key);
        }
    }
}
