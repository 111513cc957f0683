//! The groups of proxies that see the same, and what each of them sees in the newest world.
//!
//! A group outlives worlds: what it sees in one is made of what it saw in an earlier one and of
//! what changed since.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::World;
use super::view::View;
use crate::scope::ScopeKey;

/// All groups.
#[derive(Debug, Default)]
pub(super) struct Groups {
    by_key: Mutex<HashMap<ScopeKey, Arc<Group>>>,
}

/// Proxies with the same key.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) key: ScopeKey,
    newest: Mutex<Option<Seen>>,
}

/// What a group sees.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// The number of the world.
    pub(super) world: u64,
    /// The same as before if nothing that it shows changed.
    pub(super) view: Arc<View>,
}

impl Groups {
    /// The group of a key.
    pub(super) fn of(&self, key: ScopeKey) -> Arc<Group> {
        let mut by_key = self.by_key.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(group) = by_key.get(&key) {
            return Arc::clone(group);
        }
        let group = Arc::new(Group {
            key: key.clone(),
            newest: Mutex::default(),
        });
        by_key.insert(key, Arc::clone(&group));
        group
    }

    /// Forgets groups without proxies.
    pub(super) fn sweep(&self) {
        let mut by_key = self.by_key.lock().unwrap_or_else(PoisonError::into_inner);
        by_key.retain(|_, group| Arc::strong_count(group) > 1);
    }
}

impl Group {
    /// What the group sees in a world, or in a later one. Computed by whoever needs it first,
    /// while other proxies of the group wait.
    pub(super) fn see(&self, world: &World) -> Seen {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let view = match &*newest {
            Some(seen) if seen.world >= world.number => return seen.clone(),
            Some(seen) => View::next(world, seen),
            None => Arc::new(View::new(world, self.key.clone(), None)),
        };
        let seen = Seen {
            world: world.number,
            view,
        };
        *newest = Some(seen.clone());
        seen
    }
}
