//! Worlds that follow each other: what is made anew is what changed, and nothing is missed.

mod counting;
mod equal_to_fresh;
mod versions;

use std::collections::BTreeSet;
use std::sync::Arc;

use mesh_api::resource::{HasMeta, Meta};
use mesh_api::snapshot::diff::Changes;
use mesh_api::snapshot::{ByNamespace, ServiceKey, Snapshot};

use super::fixture::*;
use crate::caller::Caller;
use crate::node::Node;
use crate::world::{ProxyResources, World};

/// Proxies that follow a mesh.
struct Following {
    world: Arc<World>,
    proxies: Vec<(Caller, Arc<ProxyResources>)>,
}

/// What was done for a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Done {
    generated: u64,
    visited: u64,
}

impl Following {
    fn new(snapshot: Snapshot, nodes: impl IntoIterator<Item = Node>) -> Self {
        let mut following = Self {
            world: Arc::new(World::new(Arc::new(snapshot))),
            proxies: Vec::new(),
        };
        for node in nodes {
            following.connect(node);
        }
        following
    }

    fn connect(&mut self, node: Node) -> Done {
        let caller = Caller {
            identity: Some(account(&node.namespace, &node.service_account)),
            node: Arc::new(node),
            address: None,
        };
        let before = self.done();
        let resources = self.world.resources(&caller, BTreeSet::new(), None);
        self.proxies.push((caller, resources));
        self.done().since(before)
    }

    /// Changes the mesh, and lets all proxies follow.
    fn publish(&mut self, changes: Changes, change: impl FnOnce(&mut Snapshot)) -> Done {
        let before = self.done();
        let mut snapshot = Snapshot::clone(self.world.snapshot());
        change(&mut snapshot);
        snapshot.version += 1;
        snapshot.changes = Arc::new(changes);
        self.world = Arc::new(self.world.next(Arc::new(snapshot)));
        for proxy in 0..self.proxies.len() {
            self.follow(proxy);
        }
        self.done().since(before)
    }

    fn follow(&mut self, proxy: usize) {
        let (caller, resources) = &mut self.proxies[proxy];
        *resources = self
            .world
            .resources(caller, BTreeSet::new(), Some(resources));
    }

    fn done(&self) -> Done {
        Done {
            generated: self.world.work().generated(),
            visited: self.world.work().visited(),
        }
    }
}

impl Done {
    fn since(self, before: Self) -> Self {
        Self {
            generated: self.generated - before.generated,
            visited: self.visited - before.visited,
        }
    }
}

/// The change of an object, which replaces the one of its name.
fn put<T: HasMeta>(map: &mut Arc<ByNamespace<T>>, object: T) {
    edit(map).insert(Arc::new(object));
}

/// The removal of an object.
fn take<T: HasMeta>(map: &mut Arc<ByNamespace<T>>, key: &mesh_api::resource::ResourceKey) {
    edit(map).remove(&key.namespace, &key.name);
}

fn object_changed(meta: &Meta) -> Changes {
    Changes {
        objects: [meta.key.clone()].into(),
        ..Default::default()
    }
}

fn endpoints_changed(key: &ServiceKey) -> Changes {
    Changes {
        endpoints: [key.clone()].into(),
        ..Default::default()
    }
}
