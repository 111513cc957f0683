//! All findings in force, kept by whom they come from: one that changes does not touch the others.

use std::collections::HashMap;
use std::sync::Arc;

use mesh_api::diagnostic::{Diagnostic, Severity};
use mesh_api::resource::{Origin, ResourceKey};
use mesh_api::snapshot::Map;

use crate::store::DocumentKey;

/// Everything there is to say about the configuration: files in the order in which one reads them, objects of a
/// cluster by name.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    /// Grows by one with each change.
    version: u64,
    all: Map<Place, Arc<Diagnostic>>,
    added: Arc<Vec<Arc<Diagnostic>>>,
}

impl Findings {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.all.values().map(|one| &**one)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// True if there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Those that an earlier version did not have.
    pub fn since<'a>(&'a self, earlier: &'a Self) -> impl Iterator<Item = &'a Diagnostic> {
        // What the version just before lacks is known; further back, all are compared.
        let next = self.version == earlier.version + 1;
        let added = self.added.iter().filter(move |_| next);
        let all = self.all.iter().filter(move |_| !next);
        let compared = all.filter(|(place, one)| earlier.all.get(*place) != Some(*one));
        let compared = compared.map(|(_, one)| one);
        added.chain(compared).map(|one| &**one)
    }
}

/// Where findings come from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Owner {
    /// The source, about what is no object.
    Source,
    /// A document by itself.
    Document(DocumentKey),
    /// An object in force together with others.
    Object(ResourceKey),
}

/// Where a finding stands among the others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    reading: Reading,
    owner: Owner,
    index: usize,
}

/// The order for readers. Versions of the cluster's objects say nothing, so those go by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Reading {
    origin: Origin,
    object: Option<ResourceKey>,
    severity: Severity,
    field: String,
    code: &'static str,
}

impl Reading {
    fn of(one: &Diagnostic) -> Self {
        let (origin, object) = match one.origin {
            Origin::Cluster { .. } => (Origin::BuiltIn, one.resource.clone()),
            _ => (one.origin.clone(), None),
        };
        Self {
            origin,
            object,
            severity: one.severity,
            field: one.field.clone(),
            code: one.code,
        }
    }
}

/// In the order in which one reads files; objects of a cluster by name.
pub(crate) fn sort(diagnostics: &mut [Diagnostic]) {
    diagnostics.sort_by_cached_key(Reading::of);
}

/// Findings under change.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    published: Arc<Findings>,
    all: Map<Place, Arc<Diagnostic>>,
    owned: HashMap<Owner, Vec<Arc<Diagnostic>>>,
    added: Vec<Arc<Diagnostic>>,
    changed: bool,
}

impl Collector {
    /// Replaces what comes from `owner`. True if it is something else than before.
    pub(crate) fn set(&mut self, owner: Owner, diagnostics: Vec<Diagnostic>) -> bool {
        let before = self.owned.get(&owner).map_or(&[][..], Vec::as_slice);
        if before.iter().map(|one| &**one).eq(&diagnostics) {
            return false;
        }
        let place = |index: usize, one: &Diagnostic| Place {
            reading: Reading::of(one),
            owner: owner.clone(),
            index,
        };
        for (index, one) in before.iter().enumerate() {
            self.all.remove(&place(index, one));
        }
        let mut after = Vec::with_capacity(diagnostics.len());
        for (index, one) in diagnostics.into_iter().enumerate() {
            let known = before.iter().find(|known| ***known == one);
            let finding = known.cloned().unwrap_or_else(|| {
                let finding = Arc::new(one);
                self.added.push(finding.clone());
                finding
            });
            self.all.insert(place(index, &finding), finding.clone());
            after.push(finding);
        }
        match after.is_empty() {
            true => self.owned.remove(&owner),
            false => self.owned.insert(owner, after),
        };
        self.changed = true;
        true
    }

    /// What comes from `owner`.
    pub(crate) fn of(&self, owner: &Owner) -> &[Arc<Diagnostic>] {
        self.owned.get(owner).map_or(&[], Vec::as_slice)
    }

    /// All findings now; the same as the last time if nothing changed.
    pub(crate) fn publish(&mut self) -> Arc<Findings> {
        if std::mem::take(&mut self.changed) {
            self.published = Arc::new(Findings {
                version: self.published.version + 1,
                all: self.all.clone(),
                added: Arc::new(std::mem::take(&mut self.added)),
            });
        }
        self.published.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(name: &str, message: &str) -> Diagnostic {
        Diagnostic {
            code: "IST0101",
            severity: Severity::Error,
            resource: Some(ResourceKey::new("VirtualService", "shop", name)),
            origin: Origin::Cluster {
                resource_version: "7".into(),
            },
            field: "spec".to_owned(),
            message: message.to_owned(),
            suggestion: None,
        }
    }

    fn owner(name: &str) -> Owner {
        Owner::Object(ResourceKey::new("VirtualService", "shop", name))
    }

    fn messages<'a>(findings: impl IntoIterator<Item = &'a Diagnostic>) -> Vec<&'a str> {
        findings.into_iter().map(|one| &*one.message).collect()
    }

    #[test]
    fn a_version_tells_what_is_new_in_it() {
        let mut collector = Collector::default();
        assert!(collector.set(owner("b"), vec![finding("b", "first")]));
        assert!(collector.set(owner("a"), vec![finding("a", "other")]));
        let before = collector.publish();
        assert_eq!(messages(before.iter()), ["other", "first"]);
        assert!(!collector.set(owner("b"), vec![finding("b", "first")]));
        assert!(Arc::ptr_eq(&before, &collector.publish()));
        assert!(collector.set(
            owner("b"),
            vec![finding("b", "first"), finding("b", "second")]
        ));
        let after = collector.publish();
        assert_eq!(messages(after.since(&before)), ["second"]);
        let all = ["other", "first", "second"];
        assert_eq!(messages(after.since(&Findings::default())), all);
        assert_eq!(messages(after.iter()), ["other", "first", "second"]);
        assert_eq!(messages(before.iter()), ["other", "first"]);
    }

    #[test]
    fn what_goes_leaves_nothing_behind() {
        let mut collector = Collector::default();
        collector.set(owner("a"), vec![finding("a", "x"), finding("a", "x")]);
        assert_eq!(collector.publish().len(), 2);
        assert!(collector.set(owner("a"), Vec::new()));
        assert!(collector.publish().is_empty());
        assert!(collector.of(&owner("a")).is_empty());
    }
}
