//! The resources of one type, and what of them changed lately.

use std::collections::VecDeque;
use std::sync::Arc;

use xds::delta::{ResourceMap, SharedResource};

use super::super::Change;

/// Changes that are remembered. Proxies are rarely further behind than a few.
const CHANGES_KEPT: usize = 64;

/// Names of one change that are remembered: comparing is no more work than looking at most of the
/// resources by name.
const NAMES_KEPT: usize = 4096;

/// Resources with their last changes.
#[derive(Clone, Debug)]
pub(super) struct Part {
    resources: ResourceMap,
    /// By the number of the world that brought them, oldest first.
    changes: VecDeque<(u64, Arc<Vec<Arc<str>>>)>,
    /// Changes of later worlds are known.
    known_since: u64,
}

impl Part {
    /// Resources that were computed as a whole.
    pub(super) fn new(world: u64, resources: ResourceMap, base: Option<&Self>) -> Self {
        let Some(base) = base else {
            return Self {
                resources,
                changes: VecDeque::new(),
                known_since: world,
            };
        };
        let names = difference(&base.resources, &resources);
        let mut part = Self {
            resources,
            ..base.clone()
        };
        part.note(world, names);
        part
    }

    pub(super) fn resources(&self) -> &ResourceMap {
        &self.resources
    }

    /// Replaces some.
    pub(super) fn replace(
        &mut self,
        world: u64,
        resources: Vec<SharedResource>,
        gone: Vec<Arc<str>>,
    ) {
        let mut names: Vec<_> = gone
            .into_iter()
            .filter(|name| self.resources.remove_mut(name))
            .collect();
        for resource in resources {
            let before = self.resources.get(resource.name());
            if before.is_some_and(|before| before.version() == resource.version()) {
                continue;
            }
            names.push(Arc::clone(resource.name()));
            let name = Arc::clone(resource.name());
            self.resources.insert_mut(name, resource);
        }
        self.note(world, names);
    }

    fn note(&mut self, world: u64, names: Vec<Arc<str>>) {
        if names.is_empty() {
            return;
        }
        if names.len() > NAMES_KEPT {
            self.changes.clear();
            self.known_since = world;
            return;
        }
        self.changes.push_back((world, Arc::new(names)));
        if self.changes.len() > CHANGES_KEPT
            && let Some((world, _)) = self.changes.pop_front()
        {
            self.known_since = world;
        }
    }

    /// What changed since an earlier world.
    pub(super) fn change_since(&self, world: u64) -> Change {
        if world < self.known_since {
            return Change::Unknown;
        }
        let later = self.changes.iter().rev().take_while(|(of, _)| *of > world);
        Change::of(later.flat_map(|(_, names)| names.iter().cloned()).collect())
    }
}

/// The names of resources that are new, changed or gone.
pub(in super::super) fn difference(before: &ResourceMap, after: &ResourceMap) -> Vec<Arc<str>> {
    let differs = |resource: &&SharedResource| {
        let before = before.get(resource.name());
        before.is_none_or(|before| before.version() != resource.version())
    };
    let changed = after.values().filter(differs).map(SharedResource::name);
    let gone = before.keys().filter(|name| !after.contains_key(*name));
    changed.chain(gone).cloned().collect()
}
